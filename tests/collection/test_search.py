"""Search: the same answers as comparing everything, and what a person sees of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import jlocal.collection.search.ranking as module
from jlocal import Collection, CollectionError, Embedder, Hit
from jlocal.cli.display.columns import width
from jlocal.collection.chunking.chunks import whole
from jlocal.collection.chunking.headings import embedded
from jlocal.collection.database import base
from jlocal.collection.database.batch import Batch, Entry
from jlocal.collection.database.codes import pack
from jlocal.collection.database.store import Store
from jlocal.collection.database.values import digest_of
from jlocal.collection.search.nearest import agreement
from jlocal.collection.search.ranking import MODES, search
from jlocal.errors import ArgumentError, TextError
from jlocal.vectors import normalize
from support.collection_files import config_for
from support.texts import AWKWARD, prose


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory, model: Embedder) -> Path:
    """Return a folder with a few notes and their collection."""
    folder = tmp_path_factory.mktemp("search")
    (folder / "notes" / "sub").mkdir(parents=True)
    texts = {
        "notes/backup.md": "# Backups\n\nEvery night, kept for thirty days.\n",
        "notes/sub/budget.md": "# Budget\n\n" + "We spend less. " * 60,
        "notes/sub/火星.md": "火星被称为红色星球。" * 30,
        "notes/escape.txt": "red \x1b[31m text\x07",
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    with Collection(folder / "notes.db", model) as collection:
        collection.index(folder / "notes", chunk=48)
    return folder


@pytest.fixture
def jlocal(notes: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "jlocal", *map(str, arguments)],
            capture_output=True, cwd=notes, check=False, encoding="utf-8",
            env=os.environ | environment,
        )  # fmt: skip

    return run


def made(path: Path, groups: int, each: int, dimensions: int = 256) -> tuple[Store, np.ndarray]:
    """Make a store of documents with as many passages each, around directions of their own."""
    rng = np.random.default_rng(5)
    centres = rng.standard_normal((groups, 1, dimensions))
    spread = rng.standard_normal((groups, each, dimensions)) * 0.7
    vectors = normalize((centres + spread).reshape(-1, dimensions).astype(np.float32))
    store = Store(path, create=True)
    store.set_config(config_for(dimensions))
    batch = Batch()
    for group in range(groups):
        chunks = []
        for number in range(each):
            text = f"{group} {number}"
            digest = digest_of(text)
            batch.passages[digest] = ("", text, vectors[group * each + number])
            chunks.append((0, whole(text, number + 1), digest))
        # A key is made of record and start.
        chunks = [(0, type(c)(n, n + 1, c.first_line, c.last_line, c.text), d)
                  for n, (_, c, d) in enumerate(chunks)]  # fmt: skip
        batch.entries.append(
            Entry(f"/d/{group % 7}/{group}.md", None, digest_of(str(group)), chunks)
        )
    store.write(batch)
    return store, vectors


def fill(store: Store, vectors: np.ndarray) -> None:
    """Write a document of one passage for each vector."""
    store.set_config(config_for(vectors.shape[1]))
    batch = Batch()
    for number, vector in enumerate(vectors):
        digest = digest_of(str(number))
        batch.passages[digest] = ("", str(number), vector)
        batch.entries.append(
            Entry(f"/d/{number}.md", None, digest, [(0, whole(str(number)), digest)])
        )
    store.write(batch)


@pytest.mark.parametrize(("groups", "each"), [(600, 20), (6, 2000)])
def test_codes_find_what_comparing_everything_finds(tmp_path: Path, groups: int, each: int) -> None:
    store, vectors = made(tmp_path / "c.db", groups, each)
    found = 0
    for query in vectors[:: len(vectors) // 40][:40]:
        exact = search(store, query, 10, exact=True)
        quick = search(store, query, 10, exact=False)
        assert len(exact) == min(10, groups)
        assert len(quick) == len(exact), "enough documents, although one has most candidates"
        assert [h.score for h in exact] == sorted((h.score for h in exact), reverse=True)
        assert exact[0].text == quick[0].text
        assert len({hit.path for hit in quick}) == len(quick)
        found += len({h.path for h in exact} & {h.path for h in quick}) / len(exact)
        # By hand
        scores = (vectors @ query).reshape(groups, each).max(axis=1)
        np.testing.assert_allclose(
            [hit.score for hit in exact], np.sort(scores)[::-1][: len(exact)], rtol=1e-5
        )
    # Nine of the ten are random directions, of which codes say least.
    assert found / 40 >= 0.95, found / 40
    store.close()


def test_filters(tmp_path: Path) -> None:
    store, vectors = made(tmp_path / "c.db", 700, 3)
    for exact in (True, False):
        hits = search(store, vectors[0], 2000, "/d/3/*", exact=exact)
        assert len(hits) == 100
        assert all(hit.path.startswith("/d/3/") for hit in hits)
        assert search(store, vectors[0], 5, "3/*", exact=exact) == hits[:5]
        assert search(store, vectors[0], 5, "0.md", exact=exact)[0].path == "/d/0/0.md"
        assert search(store, vectors[0], 5, "nothing", exact=exact) == []
        limit = hits[7].score
        least = search(store, vectors[0], 2000, "3/", limit, exact=exact)
        assert least == hits[:8]
        assert len(search(store, vectors[0], 2000, exact=exact)) == 700
    store.close()


def test_more_passages_are_looked_at_by_their_codes(tmp_path: Path, monkeypatch) -> None:
    store, vectors = made(tmp_path / "c.db", 50, 4)
    monkeypatch.setattr(module, "_EXACT", 100)
    monkeypatch.setattr(Store, "codes", lambda *_: iter(()))
    assert search(store, vectors[0], 5) == []
    monkeypatch.setattr(module, "_EXACT", 1000)
    assert len(search(store, vectors[0], 5)) == 5
    store.close()


@pytest.mark.parametrize("dimensions", [8, 32, 100, 1024])
def test_agreement(dimensions: int) -> None:
    vectors = np.random.default_rng(1).standard_normal((50, dimensions)).astype(np.float32)
    codes, query = pack(vectors), vectors[3]
    assert codes.shape == (50, -(-dimensions // 64))
    expected = np.where(vectors > 0, query, 0).sum(axis=1)
    np.testing.assert_allclose(agreement(codes, query), expected, rtol=1e-4, atol=1e-4)
    assert agreement(codes, query).argmax() == 3
    assert agreement(codes[:0], query).shape == (0,)


def test_codes_tell_enough_where_a_few_components_hold_most(tmp_path: Path, monkeypatch) -> None:
    """Vectors of models that can be cut are so; by the query's signs alone half would be found."""
    rng = np.random.default_rng(4)
    directions = rng.standard_normal((3030, 256)) / (1 + np.arange(256) / 8)
    directions[:, 0] += 1
    vectors = normalize(directions.astype(np.float32))
    store = Store(tmp_path / "c.db", create=True)
    fill(store, vectors[:3000])
    monkeypatch.setattr(module, "_CANDIDATES", 200)
    found = 0
    for query in vectors[3000:]:
        exact, quick = (
            {hit.path for hit in search(store, query, 10, exact=way)} for way in (True, False)
        )
        found += len(exact & quick)
    assert found / 300 >= 0.95, found / 300
    store.close()


def fail(store: Store) -> None:
    """Write, read what is not written for good, and fail."""
    with store._transaction() as connection:
        connection.execute("DELETE FROM document")
        assert store.count_documents() == 0
        raise RuntimeError


@pytest.mark.parametrize("exact", [True, False])
def test_an_open_file_finds_what_was_written_since(tmp_path: Path, *, exact: bool) -> None:
    def paths(query: np.ndarray) -> list[str]:
        return [hit.path for hit in search(reader, query, 2, exact=exact)]

    reader, vectors = made(tmp_path / "c.db", 40, 3)
    query = vectors[0]
    assert paths(query) == paths(query)
    assert paths(query)[0] == "/d/0/0.md"
    writer = Store(tmp_path / "c.db")
    for store in (writer, reader):
        store.write(Batch(removed=[paths(query)[0]]))
        assert reader.count_documents() == reader.count_passages() // 3
        found = paths(query)
        assert len(found) == 2
        assert "/d/0/0.md" not in found
        nearest = normalize((query + vectors[3])[None].astype(np.float32))[0]
        text = f"new {store is reader}"
        digest = digest_of(text)
        chunks = [(0, whole(text), digest)]
        store.write(Batch({digest: ("", text, nearest)}, [Entry(f"/{text}", None, digest, chunks)]))
        assert paths(nearest)[0] == f"/{text}"
        store.write(Batch(removed=[f"/{text}"]))
        assert f"/{text}" not in paths(nearest)
    with pytest.raises(RuntimeError):
        fail(writer)
    assert writer.count_documents() == reader.count_documents() == 38
    reader.close()
    writer.close()


def test_a_code_that_no_query_chooses_is_checked_once_after_each_change(tmp_path: Path) -> None:
    """Its passage would never be found, so one code of each block is compared with its vector."""
    store, vectors = made(tmp_path / "c.db", 3000, 1)
    search(store, vectors[-1], 5, exact=False)
    with Store(tmp_path / "c.db")._transaction() as connection:
        block, bits = connection.execute("SELECT min(block), bits FROM code").fetchone()
        opposite = np.packbits(vectors[-1] <= 0).tobytes()
        connection.execute(
            "UPDATE code SET bits = ? WHERE block = ?", (opposite + bits[len(opposite) :], block)
        )
    for _ in range(2):
        with pytest.raises(CollectionError, match="a code is not that of its vector"):
            search(store, vectors[-1], 5, exact=False)
    store.close()


def test_the_background_is_read_once(tmp_path: Path, monkeypatch) -> None:
    store, vectors = made(tmp_path / "c.db", 1500, 1)
    monkeypatch.setattr(module, "_CANDIDATES", 100)
    read: list[int] = []
    whole_read = Store.vectors
    monkeypatch.setattr(
        Store, "vectors", lambda self, ids: read.append(len(ids)) or whole_read(self, ids)
    )
    first = search(store, vectors[0], 5, exact=False)
    # 100 of 1,024 dimensions are as many as 400 of 256.
    assert len(read) == 2
    read.clear()
    assert search(store, vectors[0], 5, exact=False) == first
    assert read == [400]
    # A filter has a background of its own.
    read.clear()
    search(store, vectors[0], 5, "/d/1", exact=False)
    assert len(read) == 2
    store.close()


def test_only_so_much_of_a_file_is_kept_in_memory(tmp_path: Path, monkeypatch) -> None:
    store, vectors = made(tmp_path / "c.db", 3000, 4)
    paths = [hit.path for hit in search(store, vectors[0], 5, exact=False)]
    assert len(store._kept["codes"]) == 2
    assert [hit.path for hit in search(store, vectors[0], 5, exact=False)] == paths
    monkeypatch.setattr(base, "_MOST_KEPT", 100_000)
    store.write(Batch(removed=[paths.pop()]))
    assert [hit.path for hit in search(store, vectors[0], 4, exact=False)] == paths
    assert "codes" not in store._kept
    store.close()


def test_each_passage_has_its_first_places(tmp_path: Path) -> None:
    """One that stands in very many documents takes no place from the others."""
    store = Store(tmp_path / "c.db", create=True)
    store.set_config(config_for(32))
    batch = Batch()
    for text, vector in zip(("common", "rare"), np.eye(2, 32, dtype=np.float32), strict=True):
        batch.passages[digest_of(text)] = ("", text, vector)
    for number in range(1, 1301):
        text = "rare" if number % 650 == 0 else "common"
        chunks = [(0, whole(text, number), digest_of(text))]
        batch.entries.append(Entry(f"/d/{number:04}", None, digest_of(str(number)), chunks))
    store.write(batch)
    store.use_path_filter(lambda path: path > "/d/0002")
    places: dict[int, list[str]] = {}
    for passage, _, place in store.locations(np.array([1, 2, 3]), 5):
        places.setdefault(passage, []).append(place.path)
        assert place.path == f"/d/{place.first_line:04}"
    assert sorted(places.values()) == [
        [f"/d/{number:04}" for number in range(3, 8)],
        ["/d/0650", "/d/1300"],
    ]
    store.close()


def test_prompts_and_places(notes: Path, model: Embedder) -> None:
    with Collection(notes / "notes.db", model) as collection:
        hits = collection.search("# Budget", mode="meaning", prompt_name="document")
        assert len(hits) == 4
        budget = next(hit for hit in hits if hit.path.endswith("budget.md"))
        assert isinstance(budget, Hit)
        passage = embedded("\n".join(budget.headings), budget.text)
        expected = model.encode_query("# Budget") @ model.encode_document(passage)
        hits = collection.search("# Budget", mode="meaning")
        again = next(hit for hit in hits if hit.path == budget.path)
        assert again.score >= expected - 1e-5
        lines = Path(again.path).read_text().splitlines()
        assert again.text.splitlines()[0] == lines[again.first_line - 1] or (
            again.text.splitlines()[0] in lines[again.first_line - 1]
        )
        (hit,) = collection.search("x", n=1)
        assert hit == collection.search("x", n=3)[0]
        for text in AWKWARD.values():
            if text.strip():
                assert len(collection.search(text)) == 4
        for query in ("", " \n"):
            with pytest.raises(ArgumentError, match="the query is empty"):
                collection.search(query)
        with pytest.raises(ArgumentError):
            collection.search("x", n=0)
        with pytest.raises(TextError):
            collection.search(prose(model.max_seq_length))


def test_copies_are_one_hit(tmp_path: Path, model: Embedder) -> None:
    for name in ("a.md", "b.md", "c.md"):
        (tmp_path / name).write_text("another" if name == "c.md" else "same")
    with Collection(tmp_path / "c.db", model) as collection:
        collection.index([tmp_path / name for name in ("a.md", "b.md", "c.md")])
        for mode in MODES:
            hits = collection.search("same", mode=mode)
            assert [Path(hit.path).name for hit in hits][:1] == ["a.md"]
            assert [Path(place.path).name for place in hits[0].others] == ["b.md"]
            assert len(hits) == (1 if mode == "words" else 2)
        (hit,) = collection.search("same", path="b.md")
        assert (Path(hit.path).name, hit.others) == ("b.md", ())


def test_search_on_the_command_line(jlocal, notes: Path) -> None:
    done = jlocal("search", "-d", "notes.db", "kept", "backups", "--path", "backup.md")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(
        r"1  0\.\d\d  notes/backup\.md:1( › Backups)?\n"
        r"(   Backups\n)?   Every night, kept for thirty days\.\n",
        done.stdout,
    )
    done = jlocal("search", "-d", "notes.db", "backups", COLUMNS="80")
    lines = done.stdout.splitlines()
    assert sum(not line.startswith(" ") for line in lines) == 4
    assert "\x1b" not in done.stdout
    assert "\x07" not in done.stdout
    assert max(map(width, lines)) <= 80
    done = jlocal("search", "-d", "notes.db", "backups", "--json", "-n", 2)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 2
    assert rows[0].keys() >= {"path", "page", "first_line", "last_line", "score", "text"}
    assert rows[0].keys() >= {"cosine", "bm25", "relevance", "headings", "state", "others"}
    assert Path(rows[0]["path"]).is_absolute()
    assert rows[0]["score"] >= rows[1]["score"]
    done = jlocal("search", "-d", "notes.db", "backups", "--min-score", "0.9999")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "Nothing found.\n")
    done = jlocal("search", "-d", "notes.db", "backups", "--min-score", "0.9999", "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("option", ["-n", "-k", "--top-k", "--limit"])
def test_the_number_of_hits_has_the_names_of_other_tools(option: str, jlocal) -> None:
    done = jlocal("search", option, "2", "backups", "-d", "notes.db", "--json")
    assert len(done.stdout.splitlines()) == 2


def test_the_words_of_a_query_are_only_words(jlocal) -> None:
    """They need no quotation marks, options may stand among them, and `--` ends the options."""
    expected = jlocal("search", "-d", "notes.db", "kept -n 1 --open", "--json").stdout
    done = jlocal("search", "--json", "-d", "notes.db", "--", "kept", "-n", "1", "--open")
    assert done.stdout == expected
    expected = jlocal("search", "-d", "notes.db", 'kept NEAR( "* OR', "--json").stdout
    done = jlocal("search", "kept", "-d", "notes.db", "NEAR(", "--json", '"*', "OR")
    assert (done.returncode, done.stdout) == (0, expected)
    done = jlocal("search", "-d", "notes.db", "-what", "is")
    assert done.returncode == 2
    assert "write -- before words that begin with a dash" in done.stderr
    done = jlocal("search", "-d", "notes.db", "--jsn", "is")
    assert "did you mean --json?" in done.stderr


def test_paths_only(jlocal, notes: Path) -> None:
    done = jlocal("search", "-d", "notes.db", "budget", "--files", "-n", "20")
    paths = done.stdout.splitlines()
    assert sorted(paths) == [
        "notes/backup.md", "notes/escape.txt", "notes/sub/budget.md", "notes/sub/火星.md"
    ]  # fmt: skip
    again = jlocal("search", "-d", "notes.db", "budget", "--files", "-0", "-n", "20")
    assert again.stdout == "".join(f"{path}\0" for path in paths)
    for arguments in (("--files", "--json"), ("--files", "--open", "1"), ("-0",)):
        assert jlocal("search", "-d", "notes.db", "x", *arguments).returncode == 2


def test_errors_are_one_line(jlocal, notes: Path, converted) -> None:
    other = converted("qwen3", "retrieval", "Q8_0")
    for arguments, message in (
        (
            ("search", "-d", "none.db", "x"),
            "make it with: jlocal index FOLDER -d none.db",
        ),
        (("search", "-d", "notes.db", " "), "the query is empty"),
        (("search", "-d", "notes/backup.md", "x"), "is not a collection of jlocal"),
        (("search", "-d", "notes.db", "x", "-m", other), "is another file"),
        (("search", "-d", "notes.db", "x", "-m", "none.gguf"), "no such file"),
        (("index", "notes", "-d", "notes.db", "--chunk", 50), "cannot be mixed in"),
        (("index", "notes", "-d", "no/notes.db", "-m", other), "there is no folder no;"),
    ):
        done = jlocal(*arguments)
        assert (done.returncode, done.stdout) == (1, ""), arguments
        assert done.stderr.startswith("Error: ")
        assert message in done.stderr
        assert done.stderr.count("\n") == 1


def test_index_on_the_command_line(jlocal, notes: Path, model_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a.md").write_text("alpha")
    (folder / "b.bin").write_bytes(b"\0")
    base = tmp_path / "n.db"
    done = jlocal("index", folder, "-d", base, "-m", model_file)
    assert (done.returncode, done.stdout) == (0, "")
    model, counts, skipped = done.stderr.splitlines()
    assert model.startswith("  Model: ")
    assert counts.startswith("  1 of 1 file · 1 passage · ")
    assert skipped == "  Skipped 1 that is not text (b.bin)"
    # The collection's own model comes before that of the environment.
    arguments = ("index", folder, "-d", base, "--exclude", "*.bin")
    done = jlocal(*arguments, JLOCAL_MODEL="other.gguf")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("  1 of 1 file: 1 unchanged · ")
    assert jlocal(*arguments, "-q").stderr == ""
    done = jlocal("search", "x", JLOCAL_DATABASE=str(base))
    assert done.stdout.endswith("a.md:1\n   alpha\n")


def test_a_collection_that_was_never_filled(tmp_path: Path, model: Embedder) -> None:
    (tmp_path / "bad.bin").write_bytes(b"\0")
    with Collection(tmp_path / "c.db", model) as collection:
        assert collection.index(tmp_path / "bad.bin").failed == 1
        with pytest.raises(CollectionError, match="is empty; index files"):
            collection.search("x")
        # It may still become another one.
        (tmp_path / "good.md").write_text("good")
        assert collection.index(tmp_path / "good.md", chunk=64).new == 1
        assert collection.config.chunk == 64


def test_importing_jlocal_stays_light() -> None:
    code = (
        "import sys, jlocal; print([m for m in ('llama_cpp', 'numpy', 'sqlite3') "
        "if m in sys.modules]); jlocal.Collection, jlocal.Hit, jlocal.Report"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_opening_a_collection_loads_neither_llama_cpp_nor_what_reads_files() -> None:
    code = (
        "import sys; from jlocal.collection.collection import Collection; Collection('c.db'); "
        "print([m for m in ('llama_cpp', 'jlocal.inputs.walk', 'jlocal.collection.index.run', "
        "'jlocal.collection.chunking.chunks') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_after_a_run_in_which_everything_failed(jlocal, model_file: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.bin").write_bytes(b"\0")
    for _ in range(2):
        done = jlocal("index", tmp_path / "bad.bin", "-d", tmp_path / "c.db", "-m", model_file)
        assert done.returncode == 1
        assert done.stderr.endswith("Error: 1 input was not indexed.\n")
