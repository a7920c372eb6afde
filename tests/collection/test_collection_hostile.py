"""Collections that others made: each is read correctly, or refused in one line."""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from jlocal import Collection, CollectionError, Embedder
from jlocal.collection.database.lock import sole_indexer
from jlocal.collection.database.schema import APPLICATION_ID, TABLES, VERSION
from support.hostile_collections import (
    SCHEMAS,
    WORDS,
    Reader,
    changed,
    floats,
    little_work,
    outcome,
    readers,
    readers_with_model,
    set_first,
)

_NAN, _INFINITY = float("nan"), float("inf")


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile") / "notes"
    folder.mkdir()
    for name in ("a", "b", "c", "d"):
        (folder / f"{name}.md").write_text(
            f"This is {name}.\n\nIt is a note about {name * 9}.\n" * 9
        )
    return folder


@pytest.fixture(scope="module")
def sound(notes: Path, model: Embedder) -> Path:
    path = notes.parent / "sound.db"
    with Collection(path, model) as collection:
        collection.index(notes, chunk=48)
    return path


@pytest.fixture(scope="module")
def every(sound: Path, notes: Path, model: Embedder) -> Mapping[str, Reader]:
    query = model.encode_query("What is this?")
    return {**readers(query, notes.parent), **readers_with_model(model, notes)}


@pytest.fixture(scope="module")
def right(every: Mapping[str, Reader], sound: Path) -> Mapping[str, object]:
    """Return what each reader gives of the sound collection."""
    copy = sound.with_name("copy.db")
    shutil.copyfile(sound, copy)
    return {name: outcome(reader, copy) for name, reader in every.items()}


# What a column may hold that it should not, beside what is particular to it.
_VALUES: dict[str, object] = {
    "NULL": None,
    "empty text": "",
    "text": "x",
    "escapes": "\x1b[31m\u202e\n",
    "digits": "9" * 10_000,
    "number": 7,
    "negative number": -7,
    "largest number": 2**63 - 1,
    "fraction": 0.5,
    "infinity": _INFINITY,
    "empty blob": b"",
    "blob": b"\xff\xfe\x00",
    "text in a blob": b"/a.md",
}
_COLUMNS = {
    "setting": ("key", "value"),
    "model_file": ("path", "size", "mtime_ns", "sha256"),
    "content": ("id", "sha256"),
    "document": ("id", "path", "stamp", "content_id", "is_added", "metadata"),
    "passage": ("id", "sha256", "vector", "text", "heading"),
    "chunk": ("content_id", "record", "start", "end", "first_line", "last_line", "passage_id"),
    "code": ("block", "passage_ids", "bits"),
    "words_data": ("id", "block"),
    "words_idx": ("segid", "term", "pgno"),
    "words_docsize": ("id", "sz"),
    "words_config": ("k", "v"),
    "path_words_data": ("id", "block"),
    "path_words_docsize": ("id", "sz"),
}
# Where another value is as good as the right one: no reader can know.
_FREE = {
    *(("document", column) for column in _COLUMNS["document"]),
    *(("chunk", column) for column in _COLUMNS["chunk"]),
    ("content", "id"),
    ("setting", "value"),
    # What ranks first can be made up, as with another vector. What is found is still a passage.
    *((table, column) for table in WORDS for column in _COLUMNS.get(table, ())),
}


def _is_right(name: str, found: object, right: object) -> bool:
    if name.startswith("map") or isinstance(found, CollectionError):
        return True
    return found == right


@pytest.mark.slow
@pytest.mark.parametrize("column", [f"{t}.{c}" for t, columns in _COLUMNS.items() for c in columns])
def test_any_value_in_any_column(
    column: str, sound: Path, tmp_path: Path, every: Mapping[str, Reader], right: Mapping
) -> None:
    table, _, name = column.partition(".")
    path = tmp_path / "notes.db"
    wrong = []
    for what, value in _VALUES.items():
        try:
            with changed(sound, path) as connection:
                set_first(connection, table, name, value)
        except sqlite3.IntegrityError:
            continue  # an id that is no number, or one that is there
        for reader, read in every.items():
            found = outcome(read, path)
            if (table, name) not in _FREE and not _is_right(reader, found, right[reader]):
                wrong.append((what, reader, found))
    assert not wrong


_VECTORS = {
    "one component less": lambda whole: whole[:-4],
    "odd": lambda whole: whole[:-1],
    "twice": lambda whole: whole * 2,
    "zero": lambda whole: bytes(len(whole)),
    "NaN": lambda whole: floats(_NAN, count=len(whole) // 4),
    "infinity": lambda whole: floats(_INFINITY, count=len(whole) // 4),
    "large": lambda whole: floats(*[3e38] * (len(whole) // 4), count=len(whole) // 4),
    "tiny": lambda whole: floats(1e-38, count=len(whole) // 4),
    "long": lambda whole: floats(1.01, count=len(whole) // 4),
}


@pytest.mark.parametrize("what", _VECTORS)
@pytest.mark.parametrize("every_one", [False, True])
def test_vectors_that_no_model_gives(
    what: str, every_one: bool, sound: Path, tmp_path: Path, every: Mapping[str, Reader]
) -> None:
    path = tmp_path / "notes.db"
    with changed(sound, path) as connection:
        rows = connection.execute("SELECT id, vector FROM passage").fetchall()
        for id, vector in rows if every_one else rows[:1]:
            connection.execute(
                "UPDATE passage SET vector = ? WHERE id = ?", (_VECTORS[what](vector), id)
            )
    for name, read in every.items():
        # Whoever reads the vector must see it; a search for words reads none.
        if name not in ("made_with", "index") and not name.endswith("words"):
            assert isinstance(outcome(read, path), CollectionError), name


_BITS = {
    "odd": lambda ids, bits: (ids, bits[:-1]),
    "a word less": lambda ids, bits: (ids, bits[:-8]),
    "a passage less": lambda ids, bits: (ids[8:], bits[8 * (len(bits) // len(ids)) :]),
    "a passage twice": lambda ids, bits: (ids[:8] + ids[:-8], bits),
    "a passage that is not there": lambda ids, bits: (ids[:-1] + b"\1", bits),
    "negative ids": lambda ids, bits: (b"\xff" * len(ids), bits),
    "zeros": lambda ids, bits: (ids, bytes(len(bits))),
    "ones": lambda ids, bits: (ids, b"\xff" * len(bits)),
    "nothing": lambda ids, bits: (b"", b""),
}


@pytest.mark.parametrize("what", _BITS)
def test_codes_of_other_vectors(
    what: str, sound: Path, tmp_path: Path, every: Mapping[str, Reader], right: Mapping
) -> None:
    path = tmp_path / "notes.db"
    with changed(sound, path) as connection:
        ids, bits = connection.execute("SELECT passage_ids, bits FROM code").fetchone()
        connection.execute("UPDATE code SET (passage_ids, bits) = (?, ?)", _BITS[what](ids, bits))
    for name, read in every.items():
        found = outcome(read, path)
        assert _is_right(name, found, right[name]), name
        assert isinstance(found, CollectionError) or "by codes" not in name, name


_SETTINGS = {
    "no JSON": "x",
    "nothing": "",
    "NaN": "NaN",
    "infinity": "-Infinity",
    "null": "null",
    "true": "true",
    "zero": "0",
    "seven": "7",
    "large": "100000",
    "negative": "-1",
    "fraction": "8.5",
    "huge": str(2**70),
    "digits": "9" * 10_000,
    "nested": "[" * 100_000,
    "list": '["a", 1]',
    "object": '{"a": 1}',
    "text": '"x"',
    "empty text": '""',
    "NUL": '"/a\\u0000b"',
    "surrogate": '"\\ud800"',
    "escapes": '"\\u001b[31m\\u202e\\n"',
    "blob": b'"x"',
}
# What another collection may well have, although this one has not.
_ALLOWED = {
    "model": ("text", "empty text", "escapes"),
    "model_path": ("text", "escapes", "surrogate"),
    "prompt": ("text", "empty text", "escapes"),
    "chunk": ("null", "seven", "large"),
    "overlap": ("zero", "seven"),
    "dimensions": ("seven", "large"),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "key",
    ["model", "model_path", "model_sha256", "pooling", "prompt", "dimensions", "precision",
     "compute_type", "chunk", "overlap", "fields"],
)  # fmt: skip
def test_settings_of_the_wrong_kind(
    key: str, sound: Path, tmp_path: Path, every: Mapping[str, Reader], right: Mapping
) -> None:
    path = tmp_path / "notes.db"
    for what, source in {**_SETTINGS, "missing": None}.items():
        with changed(sound, path) as connection:
            if source is None:
                connection.execute("DELETE FROM setting WHERE key = ?", (key,))
            else:
                connection.execute("UPDATE setting SET value = ? WHERE key = ?", (source, key))
        allowed = key in _ALLOWED and what in _ALLOWED[key]
        for name, read in every.items():
            found = outcome(read, path)
            # These searches are given all that they need.
            if not allowed and not name.startswith(("search", "words")):
                assert isinstance(found, CollectionError), (what, name)


@pytest.mark.parametrize("what", SCHEMAS)
def test_what_would_run_in_place_of_a_table(
    what: str, sound: Path, tmp_path: Path, every: Mapping[str, Reader]
) -> None:
    path = tmp_path / "notes.db"
    shutil.copyfile(sound, path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.executescript(SCHEMAS[what])
    for name, read in every.items():
        assert isinstance(outcome(read, path), CollectionError), name


def test_another_encoding(tmp_path: Path, every: Mapping[str, Reader]) -> None:
    path = tmp_path / "notes.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("PRAGMA encoding = 'UTF-16'; CREATE TABLE x (y);")
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            f"DROP TABLE x; {TABLES}; PRAGMA application_id = {APPLICATION_ID}; "
            f"PRAGMA user_version = {VERSION};"
        )
    for name, read in every.items():
        assert isinstance(outcome(read, path), CollectionError), name


def test_rows_that_are_missing(
    sound: Path, tmp_path: Path, every: Mapping[str, Reader], right: Mapping
) -> None:
    """What the rows of one table say of those of another is missed, or not needed."""
    path = tmp_path / "notes.db"
    for statement in (
        "DELETE FROM content WHERE id = 1",
        "DELETE FROM passage WHERE id = 1",
        "DELETE FROM passage",
        "DELETE FROM setting",
    ):
        with changed(sound, path) as connection:
            connection.execute(statement)
        for name, read in every.items():
            found = outcome(read, path)
            if name != "made_with":
                assert isinstance(found, CollectionError) or found == right[name], (statement, name)


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _link(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
@pytest.mark.parametrize("place", [_pipe, _link, _folder])
@pytest.mark.parametrize("end", ["", "-wal", "-shm", "-journal"])
def test_what_is_no_file(
    end: str, place: Callable[[Path], None], sound: Path, tmp_path: Path, every: Mapping
) -> None:
    path = tmp_path / "notes.db"
    if end:
        shutil.copyfile(sound, path)
    place(tmp_path / f"notes.db{end}")
    before = sorted(tmp_path.iterdir())
    for name, read in every.items():
        assert isinstance(outcome(read, path), CollectionError), name
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_lock_that_is_no_lock(sound: Path, tmp_path: Path, model: Embedder, notes: Path) -> None:
    """It is neither waited for, nor followed, nor removed."""
    path, lock = tmp_path / "notes.db", tmp_path / "notes.db-lock"
    shutil.copyfile(sound, path)
    precious = tmp_path / "precious"
    for place in (
        _pipe,
        _folder,
        _link,
        lambda lock: lock.symlink_to(precious),
        lambda lock: lock.write_text("precious"),
        lambda lock: os.mkfifo(f"{lock}-journal"),
        lambda lock: Path(f"{lock}-wal").symlink_to(precious),
    ):
        place(lock)
        before = sorted(tmp_path.iterdir())
        with (
            Collection(path, model) as collection,
            pytest.raises(CollectionError, match=r"notes\.db-lock.*; remove it$"),
        ):
            collection.index(notes, wait=5)
        assert sorted({*before, lock}) == sorted({*tmp_path.iterdir(), lock})
        assert not precious.exists()
        for left in tmp_path.glob("notes.db-lock*"):
            left.rmdir() if left.is_dir() and not left.is_symlink() else left.unlink()
    with sole_indexer(path, 0):
        assert lock.stat().st_size == 0
    assert not lock.exists()


def test_no_file_is_deleted_for_a_journal(sound: Path, tmp_path: Path, every: Mapping) -> None:
    """SQLite deletes the file whose name ends a journal, which is how it commits to several."""
    path, precious = tmp_path / "notes.db", tmp_path / "precious"
    shutil.copyfile(sound, path)
    precious.write_text("precious")
    name = str(precious).encode()
    magic = bytes.fromhex("d9d505f920a163d7")
    header = magic + struct.pack(">IIIII", 0, 0, 1, 512, 4096)
    end = struct.pack(">II", len(name), sum(name)) + magic
    for journal in (header.ljust(512, b"\0") + bytes(4) + name + end, name + end):
        for read in every.values():
            path.with_name("notes.db-journal").write_bytes(journal)
            assert isinstance(outcome(read, path), CollectionError)
            assert precious.exists()


@pytest.mark.slow
def test_pages_that_come_again_and_again(tmp_path: Path, sound: Path, every: Mapping) -> None:
    """A page may be below another many times, and rows come without end."""
    for table in ("passage", "document", "chunk", "setting", "code", "document_content",
                  "chunk_passage", "sqlite_autoindex_passage_1", "words_data", "words_idx",
                  "words_docsize", "path_words_data"):  # fmt: skip
        path = tmp_path / f"{table}.db"
        shutil.copyfile(sound, path)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
            (root,) = connection.execute(
                "SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)
            ).fetchone()
            (size,) = connection.execute("PRAGMA page_size").fetchone()
            (kind,) = connection.execute(
                "SELECT type = 'table' AND sql NOT LIKE '%WITHOUT ROWID%' FROM sqlite_master "
                "WHERE name = ?", (table,)
            ).fetchone()  # fmt: skip
        data = bytearray(path.read_bytes())
        pages = len(data) // size
        leaf = bytes(data[(root - 1) * size : root * size])
        # A leaf with the rows, and 15 levels above it, each with the next one many times over.
        data += leaf
        for level in range(15):
            last = level == 14
            child = pages + 1 + level
            data += _interior(child, size, is_table=bool(kind)) if not last else b""
            if last:
                data[(root - 1) * size : root * size] = _interior(child, size, is_table=bool(kind))
        count = len(data) // size
        data[28:32] = struct.pack(">I", count)
        path.write_bytes(data)
        with little_work():
            for read in every.values():
                outcome(read, path)


def _interior(child: int, size: int, *, is_table: bool) -> bytes:
    """Return a page with the same child a hundred times."""
    # Of a table: the child and the largest key in it; of an index: the child and a row.
    cell = struct.pack(">I", child) + (b"\x01" if is_table else b"\x03\x02\x01\x01")
    count = 100
    start = size - count * len(cell)
    pointers = b"".join(struct.pack(">H", start + n * len(cell)) for n in range(count))
    header = struct.pack(">BHHHBI", 5 if is_table else 2, 0, count, start, 0, child)
    return (header + pointers).ljust(start, b"\0") + cell * count


@pytest.mark.slow
def test_on_the_command_line(sound: Path, tmp_path: Path, model_file: Path) -> None:
    path, pipe = tmp_path / "notes.db", tmp_path / "pipe"
    os.mkfifo(pipe)
    with changed(sound, path) as connection:
        connection.execute("UPDATE passage SET vector = zeroblob(length(vector))")
    for database in (path, pipe):
        for arguments in (
            ("search", "x", "-m", model_file),
            ("map", "-o", tmp_path / "map.html"),
            ("export", "-o", tmp_path / "out.npz"),
            ("export", "-o", tmp_path / "out.csv"),
            ("export", "-o", tmp_path / "out.parquet"),
            ("export", "-o", "-"),
            ("export", "--llm", tmp_path / "llm.db"),
        ):
            done = subprocess.run(
                [sys.executable, "-m", "jlocal", *map(str, arguments), "-d", database],
                capture_output=True, text=True, check=False, timeout=60,
            )  # fmt: skip
            assert done.returncode == 1, arguments
            assert done.stdout == ""
            (line,) = [line for line in done.stderr.splitlines() if "AMX" not in line]
            assert line.startswith(f"Error: {database} is "), arguments
    assert sorted(tmp_path.iterdir()) == [path, pipe]
