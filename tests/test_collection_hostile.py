"""Collections that others made: each is read correctly, or refused in one line."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Mapping
from pathlib import Path

import pytest
from hostile_collections import (
    Reader,
    changed,
    floats,
    outcome,
    readers,
    readers_with_model,
    set_first,
)

from jlocal import Collection, CollectionError, Embedder

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
    "document": ("id", "path", "stamp", "content_id"),
    "passage": ("id", "sha256", "vector", "text"),
    "chunk": ("content_id", "record", "start", "end", "first_line", "last_line", "passage_id"),
    "code": ("block", "passage_ids", "bits"),
}
# Where another value is as good as the right one: no reader can know.
_FREE = {
    *(("document", column) for column in _COLUMNS["document"]),
    *(("chunk", column) for column in _COLUMNS["chunk"]),
    ("content", "id"),
    ("setting", "value"),
}


def _is_right(name: str, found: object, right: object) -> bool:
    if name.startswith("map") or isinstance(found, CollectionError):
        return True
    return found == right


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
        # Whoever reads the vector must see it.
        if name not in ("made_with", "index"):
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
            # The first searches are given all that they need.
            if not allowed and not name.startswith("search"):
                assert isinstance(found, CollectionError), (what, name)
