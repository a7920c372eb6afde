"""The GGUF header reader against sound and hostile files."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import pytest

from jlocal import ModelError
from jlocal.gguf.header import LongArray, read_header
from jlocal.models.profile import read_profile
from support.headers import SOUND, array, gguf, key, string, tensor, text, uint32

HUGE = 1 << 62

HOSTILE: dict[str, bytes] = {
    "empty": b"",
    "two bytes": b"GG",
    "a zip": b"PK\x03\x04" + bytes(100),
    "magic alone": b"GGUF",
    "version 1": gguf(SOUND, version=1),
    "big-endian version": gguf(SOUND, version=3 << 24),
    "absurd key count": gguf(SOUND, key_count=HUGE),
    "absurd tensor count": gguf(SOUND, tensor_count=HUGE),
    "more keys than there are": gguf(SOUND, key_count=60_000),
    "more tensors than there are": gguf(SOUND, tensor_count=60_000),
    "key longer than the file": gguf([struct.pack("<Q", HUGE) + b"x"]),
    "string longer than the file": gguf([key("a", 8, struct.pack("<Q", 1 << 20))]),
    "string of 2^62": gguf([key("a", 8, struct.pack("<Q", HUGE))]),
    "unknown type": gguf([key("a", 77, b"")]),
    "escape codes in a key": gguf([key("a\nb\x1b[2J", 8, struct.pack("<Q", HUGE))]),
    "escape codes in an architecture": gguf([text("general.architecture", "\x1b[2J\n")]),
    "an architecture of 1 MB": gguf([text("general.architecture", "x" * (1 << 20))]),
    "an architecture that is long texts": gguf(
        [array("general.architecture", 8, 9, 9 * string(b"x" * (1 << 20)))]
    ),
    "array of 2^62": gguf([array("a", 4, HUGE)]),
    "array past the end": gguf([array("a", 4, 1_000_000)]),
    "array of arrays": gguf([array("a", 9, 1, struct.pack("<IQ", 4, 0))]),
    "array of an unknown type": gguf([array("a", 99, 1)]),
    "vocabulary past the end": gguf([array("a", 8, 5_000)]),
    "vocabulary with a length of 2^62": gguf([array("a", 8, 5_000, struct.pack("<Q", HUGE))]),
    "vocabulary with a length of 2^64-1": gguf(
        [array("a", 8, 5_000, struct.pack("<Q", (1 << 64) - 1))]
    ),
    "a key twice": gguf([*SOUND, SOUND[0]]),
    "alignment 0": gguf([*SOUND, uint32("general.alignment", 0)]),
    "alignment that is text": gguf([*SOUND, text("general.alignment", "32")]),
    "alignment of 2^31": gguf([*SOUND, uint32("general.alignment", 1 << 31)]),
    "five dimensions": gguf(SOUND, [tensor("t", (1, 1, 1, 1, 1), 0)]),
    "tensor past the end": gguf(SOUND, [tensor("t", (4,), 1 << 20)]),
    "tensor at 2^63": gguf(SOUND, [tensor("t", (4,), 1 << 63)]),
    "no architecture": gguf(SOUND[1:]),
    "architecture that is a number": gguf([uint32("general.architecture", 3), *SOUND[1:]]),
    "no context": gguf([SOUND[0], *SOUND[2:]]),
    "context 0": gguf([SOUND[0], uint32("qwen3.context_length", 0), *SOUND[2:]]),
    "context of 2^32-1": gguf(
        [SOUND[0], uint32("qwen3.context_length", (1 << 32) - 1), *SOUND[2:]]
    ),
    "context that is text": gguf([SOUND[0], text("qwen3.context_length", "8"), *SOUND[2:]]),
    "no embedding length": gguf([*SOUND[:2], SOUND[3]]),
    "Matryoshka above the length": gguf(
        [*SOUND, array("jlocal.matryoshka_dimensions", 4, 1, struct.pack("<I", 65))]
    ),
    "Matryoshka of text": gguf([*SOUND, array("jlocal.matryoshka_dimensions", 8, 1, string(b"9"))]),
    "unknown normaliser": gguf([*SOUND, text("jlocal.unicode_normalizer", "NFKC")]),
    "a prompt that is a number": gguf([*SOUND, uint32("jlocal.prompt.query", 1)]),
    "lstrip tokens that are text": gguf([*SOUND, text("jlocal.lstrip_tokens", "<|mask|>")]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_header_is_one_line_and_bounded(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(HOSTILE[name])
    tracemalloc.start()
    try:
        with pytest.raises(ModelError) as caught:
            read_profile(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
    assert str(path) in str(caught.value)
    assert peak < 64 << 20


def test_many_long_texts_take_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf([array("a", 8, 40, 40 * string(bytes(1 << 20)))]))
    tracemalloc.start()
    try:
        with pytest.raises(ModelError, match=r"above the limit of 8,388,608 bytes"):
            read_header(path, 8 << 20)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("cut", range(0, len(gguf(SOUND, [tensor("t", (4,), 0)])) - 64, 7))
def test_every_cut_of_a_header_is_an_error(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf(SOUND, [tensor("t", (4,), 0)])[:cut])
    with pytest.raises(ModelError):
        read_profile(path)


def test_sound_header(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    vocabulary = b"".join(string(f"token {i}".encode()) for i in range(3000))
    keys = [
        *SOUND,
        array("tokenizer.ggml.tokens", 8, 3000, vocabulary),
        array("tokenizer.ggml.token_type", 5, 3000, bytes(4 * 3000)),
        array("jlocal.matryoshka_dimensions", 4, 2, struct.pack("<II", 64, 32)),
        text("jlocal.prompt.query", "Query: "),
        text("jlocal.default_prompt", "query"),
        key("a.bool", 7, b"\x01"),
    ]
    path.write_bytes(gguf(keys, [tensor("t", (4, 2), 0)]))
    found = read_header(path)
    assert found.metadata["tokenizer.ggml.tokens"] == LongArray(3000)
    assert found.metadata["a.bool"] is True
    assert found.tensors[0].shape == (4, 2)
    profile = read_profile(path)
    assert (profile.pooling, profile.context, profile.dimensions) == ("last", 40960, 64)
    assert profile.matryoshka == (32, 64)
    assert profile.prompts == {"query": "Query: "}
    assert profile.default_prompt == "query"


@pytest.mark.parametrize(
    ("name", "file", "context", "prompts"),
    [
        ("Jina Embeddings V5 Text Small Retrieval", "model.gguf", 32768, 2),
        ("jina-embeddings-v5-text-small-clustering", "model.gguf", 32768, 2),
        ("Merged", "v5-small-retrieval-Q8_0.gguf", 32768, 2),
        ("Qwen3 Embedding 0.6B", "model.gguf", 40960, 0),
    ],
)
def test_published_files_are_known_by_name(
    name: str, file: str, context: int, prompts: int, tmp_path: Path
) -> None:
    path = tmp_path / file
    path.write_bytes(
        gguf([*SOUND, text("general.name", name), text("tokenizer.ggml.pre", "qwen2")])
    )
    profile = read_profile(path)
    assert profile.context == context
    assert len(profile.prompts) == prompts
    assert profile.normalizer == "NFC"
    assert profile.default_prompt == ("document" if prompts else None)


def test_unreadable_files_are_model_errors(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot read"):
        read_header(tmp_path / "missing.gguf")
    with pytest.raises(ModelError, match="cannot read"):
        read_header(tmp_path)
