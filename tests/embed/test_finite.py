"""A vector without a direction is never given out; its text is named, and the others are right."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from jlocal import Collection, Embedder, ModelError, TextError
from jlocal.cli import cli
from jlocal.vectors import normalize
from support.gguf_files import edit_tensors, variant
from support.servers import running

WORD, TOKEN = "!", "\u0120!"  # Each one here stands after a space.
TEXTS = ["a cat", f"well {WORD} done", "a dog", "", "a horse and a cow", WORD]
BAD = [1, 5]
GOOD = [text for position, text in enumerate(TEXTS) if position not in BAD]


def number_of(checkpoint: Path) -> int:
    """Return the id of the word."""
    return int(json.loads((checkpoint / "tokenizer.json").read_text())["model"]["vocab"][TOKEN])


@pytest.fixture(scope="module")
def overflowing_checkpoint(few_checkpoint: Path, tmp_path_factory) -> Path:
    """Return a checkpoint whose feed-forward leaves float16 for one word."""
    number = number_of(few_checkpoint)
    folder = variant(few_checkpoint, tmp_path_factory.mktemp("overflow") / "checkpoint")

    def change(tensors: dict[str, np.ndarray]) -> None:
        # The word alone has a component in the first direction, which the gate multiplies.
        tensors["embed_tokens.weight"][:, 0] = 0
        tensors["embed_tokens.weight"][number] = 0
        tensors["embed_tokens.weight"][number, 0] = 8
        tensors["layers.0.self_attn.o_proj.weight"][0] = 0
        tensors["layers.0.mlp.gate_proj.weight"][0, 0] = 300
        tensors["layers.0.mlp.up_proj.weight"][0, 0] = 300

    edit_tensors(folder / "model.safetensors", change)
    return folder


@pytest.fixture(scope="module")
def overflowing(overflowing_checkpoint: Path) -> dict[str, Path]:
    """Return files of it, by type."""
    from jlocal_convert import convert

    folder = overflowing_checkpoint
    types = ("F16", "BF16", "F32")
    return dict(zip(types, convert(folder, types=types, output=folder.parent), strict=True))


@pytest.fixture(scope="module")
def overflow(overflowing: dict[str, Path]) -> Path:
    return overflowing["F16"]


@pytest.mark.slow
def test_the_word_overflows_only_in_f16(overflowing: dict[str, Path]) -> None:
    with Embedder(overflowing["BF16"]) as model, Embedder(overflowing["F32"]) as wide:
        cosines = (model.encode(TEXTS) * wide.encode(TEXTS)).sum(axis=1)
        assert cosines.min() > 0.999


@pytest.mark.parametrize("capture", [None, False])
def test_a_text_that_overflows_is_named_and_its_neighbours_are_right(
    overflow: Path, capture: bool | None
) -> None:
    with Embedder(overflow, capture=capture) as model:
        alone = [model.encode(text) for text in GOOD]
        found = list(model.stream(TEXTS, errors="return"))
        for position in BAD:
            error = found[position]
            assert isinstance(error, TextError)
            assert error.index == position
            assert "BF16" in str(error)
        good = [vector for vector in found if not isinstance(vector, TextError)]
        np.testing.assert_allclose(good, alone, atol=2e-3)
        # And so are those of the next call.
        np.testing.assert_allclose(model.encode(GOOD), alone, atol=2e-3)
        with pytest.raises(TextError, match="text 1 has no vector") as caught:
            model.encode(TEXTS)
        assert caught.value.index == 1
        with pytest.raises(TextError, match="text 0 has no vector"):
            model.encode(WORD)
        with pytest.raises(TextError, match="text 1 has no vector"):
            list(model.stream(TEXTS))


def test_a_request_that_overflows_fails_alone_in_its_batch(overflow: Path) -> None:
    with Embedder(overflow) as model:
        alone = model.encode(GOOD)
        scheduler = model._model.runtime.scheduler
        first = scheduler.submit(model.tokenize("word " * 500))  # the others wait for it together
        requests = [scheduler.submit(model.tokenize(text, "Document: ")) for text in TEXTS]
        first.result()
        for position in BAD:
            with pytest.raises(TextError, match="overflow"):
                requests[position].result()
        good = [requests[n].result() for n in range(len(TEXTS)) if n not in BAD]
    np.testing.assert_allclose(normalize(np.stack(good)), alone, atol=2e-3)


def test_the_position_is_that_in_the_stream(overflow: Path) -> None:
    texts = ["a cat"] * 100 + [WORD] + ["a cat"]
    with Embedder(overflow) as model:
        found = list(model.stream(texts, errors="return"))
    assert [vector.index for vector in found if isinstance(vector, TextError)] == [100]


def test_no_model_output_is_not_finite_in_any_precision(overflow: Path) -> None:
    with Embedder(overflow) as model:
        for precision in ("float16", "int8", "binary"):
            with pytest.raises(TextError, match="no vector"):
                model.encode([WORD], precision=precision)


def test_embed_reports_the_text_and_keeps_the_others(overflow: Path) -> None:
    contents = [argument for text in TEXTS if text for argument in ("-c", text)]
    result = CliRunner().invoke(cli, ["embed", "-m", str(overflow), *contents])
    assert result.exit_code == 1
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(rows) == 3
    assert all(np.isfinite(row["embedding"]).all() for row in rows)
    assert "no vector" in result.stderr
    assert "2 of 5" in result.stderr


@pytest.mark.slow
def test_a_server_gives_out_no_vector_that_is_not_finite(overflow: Path) -> None:
    httpx = pytest.importorskip("httpx")
    name = overflow.stem
    routes = {
        "/v1/embeddings": lambda text: {"model": name, "input": [text]},
        "/v2/embed": lambda text: {
            "model": name, "texts": [text], "input_type": "search_document",
            "embedding_types": ["float"],
        },
        "/api/embed": lambda text: {"model": name, "input": text},
        "/api/embeddings": lambda text: {"model": name, "prompt": text},
        "/embed": lambda text: {"inputs": [text]},
        "/embedding": lambda text: {"content": text},
    }  # fmt: skip
    with running("-m", str(overflow)) as server:
        for route, body in routes.items():
            answer = httpx.post(f"{server.url}{route}", json=body(f"well {WORD} done"), timeout=60)
            assert 400 <= answer.status_code < 500, (route, answer.text)
            assert "has no vector" in answer.text
            answer = httpx.post(f"{server.url}{route}", json=body("a cat"), timeout=60)
            assert answer.status_code == 200, (route, answer.text)
            assert not {"NaN", "null", "Infinity"} & set(re.findall(r"[A-Za-z]+", answer.text))


@pytest.mark.slow
def test_a_corpus_keeps_no_vector_that_is_not_finite(overflow: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [{"id": str(number), "text": text} for number, text in enumerate(TEXTS) if text]
    (tmp_path / "c.jsonl").write_text("\n".join(map(json.dumps, rows)))
    folder = tmp_path / "out"
    arguments = ["cluster", "embed", str(tmp_path / "c.jsonl"), str(folder), "-m", str(overflow)]
    result = CliRunner().invoke(cli, [*arguments, "--part", "1/1"])
    assert result.exit_code == 1
    assert "2 texts have no vector" in result.stderr
    table = parquet.read_table(next(folder.glob("*.parquet"))).to_pylist()
    assert [row["id"] for row in table if row["vector"] is None] == ["1", "5"]
    assert all(np.isfinite(row["vector"]).all() for row in table if row["vector"] is not None)


@pytest.mark.slow
def test_a_journal_keeps_no_vector_that_is_not_finite(overflow: Path, tmp_path: Path) -> None:
    from jlocal.outputs.journal import open_journal

    # Enough texts for several batches: those without the word are kept.
    texts = [*TEXTS, *(f"a cat and {number} dogs " * 9 for number in range(100))]
    bad = [position in BAD for position in range(len(texts))]

    def run(model: Embedder) -> tuple[list[bytes], int]:
        """Embed, and end before the output is there; return the kept vectors."""
        kept: list[bytes] = []
        with (
            contextlib.suppress(KeyboardInterrupt),
            open_journal(tmp_path / "out.npy", {}, model.profile.dimensions, print) as journal,
        ):
            found = list(model.stream(texts, errors="return", journal=journal))
            assert [isinstance(item, TextError) for item in found] == bad
            rows = journal._connection.execute("SELECT vectors FROM wave").fetchall()
            kept = [vectors for (vectors,) in rows]
            raise KeyboardInterrupt
        return kept, journal.reused

    with Embedder(overflow) as model:
        kept, reused = run(model)
        assert reused == 0
        assert len(kept) > 2
        assert all(np.isfinite(np.frombuffer(vectors, "<f4")).all() for vectors in kept)
        again, reused = run(model)
        assert again == kept
        # Texts that shared a batch with a bad text are computed again.
        assert len(texts) - 2 * len(TEXTS) <= reused <= len(texts) - len(BAD)


def test_index_reports_the_document_and_does_not_keep_it(overflow: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "bad.txt").write_text(f"well {WORD} done")
    (notes / "good.txt").write_text("a cat")
    database = tmp_path / "notes.db"
    for _ in range(2):
        result = CliRunner().invoke(
            cli, ["index", str(notes), "-d", str(database), "-m", str(overflow)]
        )
        assert result.exit_code == 1, result.output
        assert "bad.txt" in result.stderr
        assert "no vector" in result.stderr
    with Collection(database, model=overflow) as collection:
        assert [Path(hit.path).name for hit in collection.search("a cat")] == ["good.txt"]
        with pytest.raises(TextError, match="no vector"):
            collection.search(WORD)


def test_quantisation_is_not_measured_with_vectors_that_are_not_finite(overflow: Path) -> None:
    from jlocal.llama.fake_quantizer import FakeQuantizer
    from jlocal.models.profile import read_profile

    with FakeQuantizer(read_profile(overflow)) as quantizer:
        tokens = [quantizer.tokens(f"Query: {text}") for text in TEXTS]
        with pytest.raises(ModelError, match="not finite"):
            quantizer.vectors(tokens)


@pytest.mark.slow
def test_an_infinite_row_of_the_embeddings_spoils_only_its_word(
    few: Path, few_checkpoint: Path, tmp_path: Path
) -> None:
    import gguf

    path = tmp_path / "infinite.gguf"
    path.write_bytes(few.read_bytes())
    reader = gguf.GGUFReader(path, "r+")
    table = next(tensor for tensor in reader.tensors if tensor.name == "token_embd.weight")
    table.data[number_of(few_checkpoint)] = np.inf
    del table, reader
    with Embedder(few) as sound, Embedder(path) as model:
        found = list(model.stream(TEXTS, errors="return"))
        assert [isinstance(item, TextError) for item in found] == [
            position in BAD for position in range(len(TEXTS))
        ]
        good = [vector for vector in found if not isinstance(vector, TextError)]
        np.testing.assert_allclose(good, sound.encode(GOOD), atol=2e-3)


@pytest.mark.slow
def test_a_damaged_f32_file_is_not_said_to_overflow(
    overflowing: dict[str, Path], few_checkpoint: Path, tmp_path: Path
) -> None:
    import gguf

    path = tmp_path / "damaged.gguf"
    path.write_bytes(overflowing["F32"].read_bytes())
    reader = gguf.GGUFReader(path, "r+")
    table = next(tensor for tensor in reader.tensors if tensor.name == "token_embd.weight")
    table.data[number_of(few_checkpoint)] = np.nan
    del table, reader
    with Embedder(path) as model:
        model.encode("a cat")
        with pytest.raises(TextError, match=r"numbers for it are not finite.*again"):
            model.encode(WORD)


@pytest.mark.slow
def test_a_model_of_zeros_gives_no_vector(few: Path, tmp_path: Path) -> None:
    import gguf

    path = tmp_path / "zeros.gguf"
    path.write_bytes(few.read_bytes())
    reader = gguf.GGUFReader(path, "r+")
    norm = next(tensor for tensor in reader.tensors if tensor.name == "output_norm.weight")
    norm.data[:32] = 0
    with Embedder(path) as model:
        assert np.isfinite(model.encode("a cat")).all()
        with pytest.raises(TextError, match="only zeros"):
            model.encode("a cat", truncate_dim=32)
    norm.data[:] = 0
    del norm, reader
    with Embedder(path) as model, pytest.raises(TextError, match="only zeros"):
        model.encode("a cat")


def test_vectors_of_extreme_length_keep_their_direction() -> None:
    rows = np.array([[3.0, 4.0]], np.float32)
    extremes = np.concatenate([rows * np.float32(1e30), rows * np.float32(1e-30), rows, 0 * rows])
    found = normalize(extremes)
    np.testing.assert_allclose(found[:3], [[0.6, 0.8]] * 3, rtol=1e-6)
    assert not found[3].any()


@pytest.mark.slow
def test_verification_and_model_card_say_which_type_overflows(
    overflowing_checkpoint: Path, tmp_path: Path, monkeypatch
) -> None:
    from jlocal.errors import VerifyError
    from jlocal.verify import run
    from jlocal.verify.texts import Text
    from jlocal_convert import convert

    texts = [Text("en", text) for text in TEXTS if text]
    monkeypatch.setattr(run, "default_texts", lambda: texts)
    with pytest.raises(VerifyError, match=r"F16\.gguf has no usable vector.*use .*BF16") as caught:
        convert(overflowing_checkpoint, types=["F16", "BF16"], output=tmp_path, verify=True)
    assert "2 of 5 texts" in str(caught.value)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert [name.rpartition("-")[2] for name in names] == ["README.md", "BF16.gguf", "F16.gguf"]
    card = (tmp_path / "README.md").read_text()
    assert card.count("overflows | - | - |") == 1
    assert "**Do not use this file**" in card
    assert str(tmp_path) not in card
