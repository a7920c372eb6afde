"""Random collections: every reader and writer ends in success or in one line.

FUZZ_INPUTS=N makes N other inputs in each test instead of the same few hundred.
"""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jlocal.collection.chunking.chunks import whole
from jlocal.collection.database.batch import Batch, Entry
from jlocal.collection.database.store import Store
from jlocal.collection.database.values import digest_of
from support.collection_files import by_hand
from support.fuzzing import fuzzer, mutations
from support.hostile_collections import (
    TABLES,
    Reader,
    changed,
    floats,
    little_work,
    outcome,
    readers,
)

pytestmark = pytest.mark.slow

# Kilobytes that this process may grow by.
LIMIT = 400 << 10

fuzz = fuzzer(150, deadline=20_000)
_QUERY = np.eye(1, 8, dtype=np.float32)[0]


@pytest.fixture(autouse=True, scope="module")
def _little_work() -> Iterator[None]:
    with little_work():
        yield


@pytest.fixture(autouse=True)
def _bounded() -> Iterator[None]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < LIMIT


def _sound(folder: Path) -> tuple[bytes, bytes, bytes]:
    """Return a collection in small pages; and the same in a file and its log."""
    texts = [f"Text {number}\nin two lines" for number in range(30)]
    documents = (("/n/a.md", texts[:9]), ("/n/b.pdf", texts[5:]), ("/n/\udcff.md", ["x"]))
    path = by_hand(folder / "sound.db", *documents)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA page_size = 512")
        connection.execute("VACUUM")
        connection.execute("PRAGMA journal_mode = WAL")
    whole_file = path.read_bytes()
    with closing(Store(path)) as store:
        store.write(Batch(removed=["/n/b.pdf"]))
        return whole_file, path.read_bytes(), path.with_name("sound.db-wal").read_bytes()


with tempfile.TemporaryDirectory() as _folder:
    WHOLE, FILE, LOG = _sound(Path(_folder))


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    # Each commit waits for the disk, where there is one.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def every(scratch: Path) -> Mapping[str, Reader]:
    return {**readers(_QUERY, scratch), "writing": _written}


def _written(path: Path) -> object:
    with closing(Store(path)) as store:
        paths = list(store.paths())
        chunk = whole("new text")
        digest = digest_of(chunk.text)
        new = Entry("/n/new.md", "1", digest, [(0, chunk, digest)])
        store.write(
            Batch(
                {digest: ("", chunk.text, _QUERY)},
                [new],
                [(path, "2") for path in paths],
                paths[:1],
            )
        )
        store.settle()
        store.check_links()
        store.delete_kept()
        store.vacuum()
        return store.checkpoint()


def read_all(path: Path, every: Mapping[str, Reader]) -> None:
    """Have it read by everything: each gives sound results, or says what is the matter."""
    for name, read in every.items():
        found = outcome(read, path)
        if name.startswith("search") and isinstance(found, list):
            # The sum that BM25 is has no such end.
            most = np.inf if name == "search by words" else 1.001
            assert all(abs(hit[3]) <= most for hit in found)


def write(scratch: Path, data: bytes, **asides: bytes) -> Path:
    """Write a file, and those that lie beside it."""
    path = scratch / "notes.db"
    for end in ("wal", "shm", "journal", "lock"):
        path.with_name(f"notes.db-{end}").unlink(missing_ok=True)
    for end, content in asides.items():
        path.with_name(f"notes.db-{end}").write_bytes(content)
    path.write_bytes(data)
    return path


@fuzz
@given(data=st.one_of(mutations(WHOLE), st.binary(max_size=200).map(WHOLE[:100].__add__)))
def test_bytes_of_the_file(scratch: Path, every: Mapping[str, Reader], data: bytes) -> None:
    read_all(write(scratch, data), every)


@fuzz
@given(data=st.one_of(st.just(FILE), mutations(FILE)), log=mutations(LOG))
def test_bytes_of_the_log(
    scratch: Path, every: Mapping[str, Reader], data: bytes, log: bytes
) -> None:
    read_all(write(scratch, data, wal=log), every)


values = st.one_of(
    st.none(),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.integers(-3, 40),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=20),
    st.sampled_from(
        [
            "9" * 10_000,
            "[" * 20_000,
            "NaN",
            "-1",
            "1e400",
            '"\\ud800"',
            b"/n/a.md",
            "/n/a.md",
            bytes(32),
            floats(float("nan"), count=8),
            floats(3e38, 3e38, count=8),
            floats(1, count=8),
            floats(1, count=7),
        ]
    ),
)
rows = st.tuples(st.sampled_from(TABLES), st.integers(0, 9), st.integers(0, 40), values)


@fuzz
@given(changes=st.lists(rows, min_size=1, max_size=3), gone=st.sampled_from([None, *TABLES]))
def test_values(
    scratch: Path,
    every: Mapping[str, Reader],
    changes: list[tuple[str, int, int, object]],
    gone: str | None,
) -> None:
    sound = scratch / "sound.db"
    sound.write_bytes(WHOLE)
    with changed(sound, scratch / "notes.db") as connection:
        for table, column, number, value in changes:
            names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            found = connection.execute(f"SELECT * FROM {table}").fetchall()
            row = found[number % len(found)] if found else ()
            where = " AND ".join(f'"{name}" IS ?' for name in names)
            try:
                connection.execute(
                    f'UPDATE {table} SET "{names[column % len(names)]}" = ? WHERE {where}',
                    (value, *row) if row else (value, *names),
                )
            except sqlite3.IntegrityError:
                continue
        if gone:
            connection.execute(f"DELETE FROM {gone} WHERE random() % 2")
    read_all(scratch / "notes.db", every)


statements = st.one_of(
    st.sampled_from(TABLES).map("DROP TABLE {}".format),
    st.sampled_from(TABLES).flatmap(
        lambda table: st.sampled_from(
            [
                f"ALTER TABLE {table} ADD COLUMN x",
                f"ALTER TABLE {table} RENAME TO x",
                f"CREATE TRIGGER t AFTER INSERT ON {table} BEGIN DELETE FROM document; END",
                f"CREATE INDEX i ON {table} (1)",
                f"DROP TABLE {table}; CREATE VIEW {table} AS SELECT 1 AS id, 2 AS path",
                f"DROP TABLE {table}; CREATE TABLE {table} (id, path, sha256, vector, text)",
                f"PRAGMA writable_schema = 1; DELETE FROM sqlite_master WHERE name = '{table}'",
            ]
        )
    ),
    st.tuples(
        st.sampled_from(["type", "name", "tbl_name", "rootpage", "sql"]),
        st.one_of(st.integers(-2, 60), st.none(), st.text(max_size=9), st.sampled_from(TABLES)),
        st.sampled_from(TABLES),
    ),
)


@fuzz
@given(changes=st.lists(statements, min_size=1, max_size=2))
def test_schemas(
    scratch: Path, every: Mapping[str, Reader], changes: list[str | tuple[str, object, str]]
) -> None:
    path = write(scratch, WHOLE)
    for change in changes:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            try:
                if isinstance(change, str):
                    connection.executescript(change)
                else:
                    column, value, table = change
                    connection.execute("PRAGMA writable_schema = 1")
                    connection.execute(
                        f"UPDATE sqlite_master SET {column} = ? WHERE name = ?", (value, table)
                    )
            except (sqlite3.Error, UnicodeEncodeError):
                continue
    read_all(path, every)


def test_the_sound_ones_are_read(scratch: Path, every: Mapping[str, Reader]) -> None:
    """So that the others are refused for what is wrong with them."""
    for asides in ({}, {"wal": LOG}):
        path = write(scratch, FILE if asides else WHOLE, **asides)
        copy = scratch / "copy.db"
        for name, read in every.items():
            for left in scratch.glob("copy.db*"):
                left.unlink()
            for file in scratch.glob("notes.db*"):
                shutil.copyfile(file, scratch / file.name.replace("notes", "copy"))
            found = outcome(read, copy)
            assert name == "llm" or not isinstance(found, Exception), (name, found)
        assert path.exists()
