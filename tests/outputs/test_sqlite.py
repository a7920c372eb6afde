"""Errors of SQLite are one line that says what to do, in each kind of file that jlocal writes."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from jlocal.collection.database.check import COLLECTION
from jlocal.collection.llm import _DATABASE
from jlocal.outputs.journal import _JOURNAL
from jlocal.outputs.sqlite import Cause, FileKind, cause_of, limit_work, open_file

KINDS = (COLLECTION, _DATABASE, _JOURNAL)


def write(path: Path, parameters: str = "mode=rw") -> None:
    with closing(open_file(path, parameters, timeout=0)) as connection:
        connection.execute("INSERT INTO t VALUES (zeroblob(100000))")


def full(path: Path) -> None:
    with closing(open_file(path)) as connection:
        connection.execute("PRAGMA max_page_count = 3")
        connection.execute("INSERT INTO t VALUES (zeroblob(100000))")


def read_only(path: Path) -> None:
    write(path, "mode=ro")


def in_no_folder(path: Path) -> None:
    path.unlink()
    write(path, "mode=rw")


def locked(path: Path) -> None:
    with closing(open_file(path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        write(path)


def of_another_kind(path: Path) -> None:
    path.write_bytes(b"notes " * 1000)
    write(path)


def damaged(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:4096] + b"x" * (len(data) - 4096))
    write(path)


def with_a_hostile_schema(path: Path) -> None:
    """A name that is no UTF-8, which SQLite quotes and Python cannot read."""
    data = path.read_bytes()
    path.write_bytes(data.replace(b"CREATE TABLE t", b"CREATE T\xff\xff\xffE t"))
    write(path)


def without_an_end(path: Path) -> None:
    with closing(open_file(path)) as connection:
        limit_work(connection, path)
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
        ).fetchall()


def with_a_huge_value(path: Path) -> None:
    if not hasattr(sqlite3.Connection, "setlimit"):
        pytest.skip("Python 3.10 sets no limits")
    with closing(open_file(path)) as connection:
        connection.execute("SELECT length(zeroblob(300 << 20))").fetchall()


def of_another_program(path: Path) -> None:
    with closing(open_file(path)) as connection:
        connection.execute("SELECT a\x1b[31m FROM nothing")


CASES = {
    full: (Cause.NO_SPACE, "cannot write {path}: No space left on device; {outcome}; make room"),
    read_only: (
        Cause.READ_ONLY,
        "cannot write {path}: it is read-only; make it writable, or {if_unusable}",
    ),
    in_no_folder: (
        Cause.CANNOT_OPEN,
        "cannot open {path}: no such folder, or no permission; {if_unusable}",
    ),
    locked: (Cause.LOCKED, "{path} is in use by another process; {outcome}; try again later"),
    of_another_kind: (
        Cause.NOT_SQLITE,
        "{path} is not {name}: it is not an SQLite file; move it away, or {if_unusable}",
    ),
    damaged: (Cause.DAMAGED, "{path} is damaged; {if_damaged}"),
    with_a_hostile_schema: (Cause.DAMAGED, "{path} is damaged; {if_damaged}"),
    without_an_end: (Cause.DAMAGED, "{path} is damaged; {if_damaged}"),
    with_a_huge_value: (Cause.DAMAGED, "{path} is damaged; {if_damaged}"),
    of_another_program: (Cause.OTHER, "cannot {use} {path}: unrecognized token: "),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.db"
    with closing(open_file(path, "mode=rwc")) as connection:
        connection.execute("CREATE TABLE t (a)")
        connection.execute("INSERT INTO t VALUES (zeroblob(10000))")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("fail", CASES)
def test_each_error_says_what_to_do(path: Path, fail: Callable[[Path], None]) -> None:
    cause, sentence = CASES[fail]
    with pytest.raises((sqlite3.Error, UnicodeDecodeError)) as raised:
        fail(path)
    assert cause_of(raised.value) is cause
    for kind in KINDS:
        with pytest.raises(kind.error) as told, kind.translated_errors(path):
            raise raised.value
        message = str(told.value)
        assert message.startswith(sentence.format(path=path, **vars(kind)))
        assert message.isprintable()
        assert told.value.path == path


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_what_sqlite_would_wait_for_or_follow_is_refused(path: Path, kind: FileKind) -> None:
    kind.check_files(path)
    beside = path.with_name(f"{path.name}-wal")
    os.mkfifo(beside)
    with pytest.raises(kind.error, match=r"a\.db-wal is a pipe, where a file of .* remove it"):
        kind.check_files(path)
    beside.unlink()
    beside.symlink_to(path)
    with pytest.raises(kind.error, match=r"a\.db-wal is a link"):
        kind.check_files(path)


def test_no_function_runs_for_a_schema(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE VIEW v AS SELECT load_extension('x')")
    with closing(open_file(path)) as connection, pytest.raises(sqlite3.Error, match="unsafe use"):
        connection.execute("SELECT * FROM v").fetchall()
