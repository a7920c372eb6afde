"""Random input for the two readers of files from elsewhere: GGUF headers and bundles.

They end in success or ModelError, in bounded memory. FUZZ_INPUTS=N makes N other inputs in
each test instead of the same few hundred.
"""

from __future__ import annotations

import json
import struct
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jlocal.bundle import install as installing
from jlocal.bundle.standalone import END, RefusedError, header, parse_manifest
from jlocal.errors import ModelError
from jlocal.gguf.consistency import check_consistency
from jlocal.gguf.header import read_header
from jlocal.models.info import metadata_of, model_info
from jlocal.models.profile import profile_of
from support.bundles import MEMBERS, MODEL, manifest, member, pack
from support.fuzzing import fuzzer, mutations
from support.headers import SOUND, array, gguf, key, string, tensor, text, uint32

pytestmark = pytest.mark.slow

LIMIT = 64 << 20

fuzz = fuzzer(400, deadline=5000)


@pytest.fixture(scope="module")
def scratch() -> Path:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture(autouse=True, scope="module")
def _own_home(scratch: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JLOCAL_HOME", str(scratch / "home"))
        yield


def refusal(function: Callable[[], Any]) -> str:
    """Return the message with which a function refuses its input, or nothing."""
    try:
        function()
    except (ModelError, RefusedError) as error:
        return str(error)
    return ""


def bounded(function: Callable[[], Any]) -> None:
    """Call a function, which may refuse its input; nothing else may happen."""
    tracemalloc.start()
    try:
        message = refusal(function)
        assert message.isprintable()
        assert len(message) < 600
        assert tracemalloc.get_traced_memory()[1] < LIMIT
    finally:
        tracemalloc.stop()


# A word of a length or a count: mostly small, sometimes absurd.
counts = st.one_of(st.integers(0, 8), st.integers(0, (1 << 64) - 1))
words = st.text(max_size=12).map(str.encode)
known_keys = st.sampled_from(
    [
        "general.architecture", "general.alignment", "general.name", "general.file_type",
        "qwen3.context_length", "qwen3.embedding_length", "qwen3.pooling_type",
        "qwen3.attention.causal", "jlocal.prompt.query", "jlocal.default_prompt", "jlocal.task",
        "jlocal.matryoshka_dimensions", "jlocal.unicode_normalizer", "jlocal.lstrip_tokens",
        "tokenizer.ggml.pre", "tokenizer.ggml.tokens",
    ]
)  # fmt: skip
names = st.one_of(known_keys, st.text(max_size=12))
values = st.one_of(
    st.builds(lambda name, value: text(name, value), names, st.text(max_size=12)),
    st.builds(uint32, names, st.integers(0, (1 << 32) - 1)),
    st.builds(key, names, st.integers(0, 14), st.binary(max_size=24)),
    st.builds(
        lambda name, kind, count, items: key(name, 9, struct.pack("<IQ", kind, count) + items),
        names, st.integers(0, 14), counts, st.binary(max_size=64),
    ),
    st.builds(
        lambda name, items: array(name, 8, len(items), b"".join(map(string, items))),
        names, st.lists(words, max_size=4),
    ),
)  # fmt: skip
tensors = st.builds(
    lambda name, shape, offset, kind: tensor(name, tuple(shape), offset, kind),
    st.text(max_size=12), st.lists(counts, max_size=5), counts, st.integers(0, (1 << 32) - 1),
)  # fmt: skip
headers = st.builds(
    lambda sound, keys, table, version, key_count, tensor_count, data: gguf(
        [*(SOUND if sound else []), *keys],
        table,
        version=version,
        key_count=key_count,
        tensor_count=tensor_count,
        data=data,
    ),
    st.booleans(),
    st.lists(values, max_size=6),
    st.lists(tensors, max_size=4),
    st.one_of(st.sampled_from([2, 3]), st.integers(0, (1 << 32) - 1)),
    st.one_of(st.none(), counts),
    st.one_of(st.none(), counts),
    st.binary(max_size=64),
)


def describe_all(path: Path) -> None:
    read = read_header(path)
    profile_of(read)
    json.dumps([model_info(read), metadata_of(read)])


@fuzz
@given(data=st.one_of(mutations(MODEL), headers, headers.flatmap(mutations), st.binary()))
def test_headers(scratch: Path, data: bytes) -> None:
    path = scratch / "model.gguf"
    path.write_bytes(data)
    bounded(lambda: describe_all(path))


# A header that is sound as a whole, so that single changes reach the last of the checks.
NUMBERS = {
    "block_count": 2, "context_length": 32, "embedding_length": 8, "feed_forward_length": 12,
    "attention.head_count": 2, "attention.head_count_kv": 1, "attention.key_length": 6,
    "attention.value_length": 6, "rope.dimension_count": 6, "pooling_type": 3,
    "embedding_length_out": 8, "expert_count": 0, "expert_used_count": 0,
}  # fmt: skip
SHAPES = {
    "attn_norm": (8,), "attn_q": (8, 12), "attn_k": (8, 6), "attn_v": (8, 6),
    "attn_output": (12, 8), "ffn_norm": (8,), "ffn_gate": (8, 12),
    "ffn_up": (8, 12), "ffn_down": (12, 8),
    "attn_q_norm": (6,), "attn_k_norm": (6,),
}  # fmt: skip
EPSILON = "qwen3.attention.layer_norm_rms_epsilon"
KEYS = {
    "general.architecture": text("general.architecture", "qwen3"),
    **{f"qwen3.{name}": uint32(f"qwen3.{name}", value) for name, value in NUMBERS.items()},
    EPSILON: key(EPSILON, 6, struct.pack("<f", 1e-6)),
    "tokenizer.ggml.model": text("tokenizer.ggml.model", "gpt2"),
    "tokenizer.ggml.tokens": array(
        "tokenizer.ggml.tokens", 8, 16, b"".join(string(b"%d" % n) for n in range(16))
    ),
    "tokenizer.ggml.token_type": array("tokenizer.ggml.token_type", 5, 16, bytes(64)),
    "tokenizer.ggml.add_eos_token": key("tokenizer.ggml.add_eos_token", 7, b"\x01"),
    "tokenizer.ggml.eos_token_id": uint32("tokenizer.ggml.eos_token_id", 15),
}
TABLE = {
    "token_embd.weight": (8, 16),
    "output_norm.weight": (8,),
    **{f"blk.{n}.{name}.weight": shape for n in range(2) for name, shape in SHAPES.items()},
}


def complete(keys: dict[str, bytes], table: dict[str, tuple[int, ...]]) -> bytes:
    rows = [tensor(name, shape, 0) for name, shape in table.items()]
    return gguf([*keys.values()], rows)


def changed_headers() -> st.SearchStrategy[bytes]:
    """Sound headers with other values of a few keys, and other shapes of a few tensors."""
    number = st.one_of(st.integers(0, 20), st.sampled_from([0, 512, 513, 1 << 31, (1 << 32) - 1]))
    length = st.one_of(st.integers(0, 20), st.integers(0, (1 << 64) - 1))
    real = st.floats(width=32).map(lambda value: struct.pack("<f", value))
    change = st.one_of(
        st.none(),
        number.map(lambda value: (4, struct.pack("<I", value))),
        real.map(lambda value: (6, value)),
        st.booleans().map(lambda value: (7, bytes([value]))),
        words.map(lambda value: (8, string(value))),
        st.lists(real, max_size=20).map(
            lambda found: (9, struct.pack("<IQ", 6, len(found)) + b"".join(found))
        ),
        st.lists(words, max_size=20).map(
            lambda found: (9, struct.pack("<IQ", 8, len(found)) + b"".join(map(string, found)))
        ),
    )
    shape = st.one_of(st.none(), st.lists(length, max_size=4).map(tuple))
    layer = st.sampled_from(["blk.2.x.weight", "blk.513.x", "blk.99999999999.x", "dense_2.weight"])

    def apply(
        keys: dict[str, tuple[int, bytes] | None], shapes: dict[str, tuple[int, ...] | None]
    ) -> bytes:
        built, table = dict(KEYS), {**TABLE, **shapes}
        for name, value in keys.items():
            built[name] = key(name, *value) if value else b""
        return complete(
            {name: data for name, data in built.items() if data},
            {name: found for name, found in table.items() if found is not None},
        )

    return st.builds(
        apply,
        st.dictionaries(st.sampled_from([*KEYS]), change, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from([*TABLE]), layer), shape, max_size=2),
    )


def check_all(path: Path) -> None:
    check_consistency(profile_of(read_header(path)).header)


def test_the_header_that_is_changed_is_sound(scratch: Path) -> None:
    path = scratch / "model.gguf"
    path.write_bytes(complete(KEYS, TABLE))
    check_all(path)


@fuzz
@given(data=st.one_of(mutations(complete(KEYS, TABLE)), changed_headers(), headers))
def test_consistency_of_headers(scratch: Path, data: bytes) -> None:
    path = scratch / "model.gguf"
    path.write_bytes(data)
    bounded(lambda: check_all(path))


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=12), inner, max_size=4)
    ),
    max_leaves=12,
)
paths = st.one_of(
    st.sampled_from([*MEMBERS, "install.py", "wheels/x.whl", "../x", "/x", "models\\x.gguf"]),
    st.text(max_size=20),
)
members = st.lists(
    st.one_of(
        st.fixed_dictionaries(
            {
                "path": st.one_of(paths, json_values),
                "size": st.one_of(st.integers(-1, 512), json_values),
                "sha256": st.one_of(st.just("0" * 64), json_values),
            }
        ),
        json_values,
    ),
    max_size=4,
)
manifests = st.fixed_dictionaries(
    {
        "format": st.one_of(st.just("jlocal bundle"), json_values),
        "version": st.one_of(st.just(1), json_values),
        "members": st.one_of(members, json_values),
        "models": st.one_of(
            st.lists(st.fixed_dictionaries({"name": paths, "path": paths}), max_size=3),
            json_values,
        ),
        "program": st.one_of(
            st.none(),
            st.fixed_dictionaries(
                {
                    "jlocal": st.text(max_size=4),
                    "python": st.one_of(st.just("3.11"), json_values),
                    "platform": st.text(max_size=12),
                    "cpu": st.one_of(st.lists(st.text(max_size=4), max_size=3), json_values),
                    "glibc": json_values,
                }
            ),
            json_values,
        ),
    }
)


@fuzz
@given(value=manifests)
def test_manifests(value: Any) -> None:
    message = refusal(lambda: parse_manifest(json.dumps(value).encode()))
    assert message.isprintable()
    assert len(message) < 300


def changed_manifests() -> st.SearchStrategy[bytes]:
    """Bundles whose manifest says something else of one value."""
    base = manifest()

    def change(part: str, value: Any) -> bytes:
        changed = json.loads(json.dumps(base))
        if part in ("path", "size", "sha256"):
            changed["members"][1][part] = value
        elif part == "name":
            changed["models"][0][part] = value
        else:
            changed[part] = value
        return pack(changed)

    parts = st.sampled_from(["path", "size", "sha256", "name", *base])
    return st.builds(change, parts, st.one_of(paths, st.integers(0, 1 << 50), json_values))


archives = st.one_of(
    mutations(pack()),
    changed_manifests(),
    # The model is another, and all sums are right.
    st.one_of(headers, mutations(MODEL)).map(lambda data: pack(None, {"models/x.gguf": data})),
    # Members in any order and number after a sound manifest.
    st.lists(
        st.sampled_from(
            [*(member(path, data) for path, data in MEMBERS.items()), header("LICENSE", 5), END]
        ),
        max_size=5,
    ).map(lambda parts: pack(manifest(), {}, *parts)),
    mutations(json.dumps(manifest()).encode()).map(pack),
)


@fuzz
@given(data=archives)
def test_bundles(scratch: Path, data: bytes) -> None:
    path = scratch / "bundle.tar"
    path.write_bytes(data)
    placed: list[Path] = []
    bounded(lambda: placed.extend(model.path for model in installing.install(path)))
    # Models and their records, or nothing; and no file beside them or elsewhere.
    assert {item.name for item in scratch.iterdir()} <= {"bundle.tar", "model.gguf", "home"}
    kept = {item for item in (scratch / "home").rglob("*") if item.is_file()}
    assert kept == {*placed, *(model.with_suffix(".json") for model in placed)}
    for item in kept:
        item.unlink()
