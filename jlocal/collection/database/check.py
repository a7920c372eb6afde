"""Whether a file is a collection that jlocal made, before anything in it is trusted.

A collection may come from elsewhere. A view or a trigger in place of a table would run, and a
pipe beside the file would be waited for.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import sqlite3
import stat
from functools import cache
from pathlib import Path

from jlocal.errors import CollectionError
from jlocal.printable import printable

# No text of a document is longer in UTF-8, and no schema of ours has longer statements or more.
_LONGEST_VALUE = 256 << 20
_LONGEST_STATEMENT = 10_000
_MOST_OBJECTS = 100

# Work is counted in SQLite's virtual machine instructions, of which a second has about 10^8. A
# statement over sound tables needs a few for each byte of the file at most.
_UNIT = 10_000_000
_LEAST_UNITS = 20
_BYTES_PER_UNIT = 500_000

# What may be missing in a file, and a statement that gives a row if it is.
MISSING = {
    "a document lacks its content": "SELECT 1 FROM document "
    "WHERE typeof(content_id) <> 'integer' OR content_id NOT IN (SELECT id FROM content) LIMIT 1",
    "a chunk lacks its content": "SELECT 1 FROM chunk "
    "WHERE typeof(passage_id) <> 'integer' OR content_id NOT IN (SELECT id FROM content) LIMIT 1",
    # `+id` has the ids read from an index, which is much smaller than the table.
    "a chunk lacks its passage": "SELECT 1 FROM chunk "
    "WHERE passage_id NOT IN (SELECT +id FROM passage) LIMIT 1",
}

_JOURNAL_END = bytes.fromhex("d9d505f920a163d7")


def check_files(path: Path) -> None:
    """Refuse a pipe, a device or a folder in place of the file, and links beside it.

    Raises:
        CollectionError: the file is none that SQLite should open, or one beside it is.

    """
    kind = _kind(path, follow=True)
    if kind not in ("", "regular file"):
        raise CollectionError(f"{path} is a {kind}; name a regular file", path=path)
    # SQLite looks for them beside the file that a link names.
    real = os.path.realpath(path)
    for end in ("-wal", "-shm", "-journal"):
        aside = Path(f"{real}{end}")
        kind = _kind(aside, follow=False)
        if kind not in ("", "regular file"):
            raise CollectionError(
                f"{aside} is a {kind}, where a file of {path} belongs; remove it", path=aside
            )
        if end == "-journal" and kind and _names_another_file(aside):
            raise CollectionError(f"{aside} was not left by jlocal; remove it", path=aside)


def _kind(path: Path, *, follow: bool) -> str:
    """Name what a path leads to; nothing if there is nothing."""
    try:
        mode = (path.stat() if follow else path.lstat()).st_mode
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CollectionError(f"cannot open {printable(str(path))}: {reason}", path=path) from None
    kinds = {stat.S_IFREG: "regular file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}
    kinds |= {stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}
    return kinds.get(stat.S_IFMT(mode), "device")


def _names_another_file(journal: Path) -> bool:
    """Whether SQLite might delete a file for this journal: the one whose name ends it."""
    try:
        with journal.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - len(_JOURNAL_END)))
            return file.read() == _JOURNAL_END and size > len(_JOURNAL_END)
    except OSError as error:
        raise CollectionError(
            f"cannot read {journal}: {error.strerror or error}", path=journal
        ) from None


def distrust(connection: sqlite3.Connection) -> None:
    """Have SQLite check pages, run no function for a schema, and refuse values that are huge."""
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    # From Python 3.11 on.
    if hasattr(connection, "setlimit"):
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)


def limit_work(connection: sqlite3.Connection, path: Path) -> None:
    """Let a statement end as "interrupted" where it does not end by itself, or give a row.

    In a damaged file a page may be among its own descendants. To be called before each statement,
    and between rows where there may be many.
    """
    size = 0
    with contextlib.suppress(OSError):
        size = path.stat().st_size
    units = _LEAST_UNITS + size // _BYTES_PER_UNIT
    # A function in Python would be where Ctrl-C arrives, and SQLite would swallow it.
    connection.set_progress_handler(itertools.repeat(None, units).__next__, _UNIT)


def check_schema(connection: sqlite3.Connection, path: Path, statements: str) -> None:
    """Compare the tables and indices with those that our own statements make.

    Raises:
        CollectionError: something is missing, is added, or is another.

    """
    if connection.execute("PRAGMA encoding").fetchone() != ("UTF-8",):
        raise CollectionError(
            f"{path} is not a collection of jlocal: its encoding is not UTF-8", path=path
        )
    found = connection.execute(
        "SELECT type, name, tbl_name, CASE WHEN length(sql) <= ? THEN sql END, sql IS NULL, "
        "rootpage FROM sqlite_master LIMIT ?",
        (_LONGEST_STATEMENT, _MOST_OBJECTS),
    ).fetchall()
    ours = _schema_of(statements)
    theirs = {
        (type, name, table, None if has_none else _plain(sql))
        for type, name, table, sql, has_none, _ in found
    }
    for type, name, *_ in sorted(theirs - ours, key=repr):
        what = printable(f"{type} {name}")[:100]
        raise CollectionError(
            f"{path} is not a collection of jlocal: it has another {what}; delete it and index "
            "again",
            path=path,
        )
    # Two tables on the same pages would be two readings of one. A virtual table has none.
    roots = [root for *_, sql, _, root in found if not str(sql).startswith("CREATE VIRTUAL")]
    if len(found) != len(ours) or len(set(roots)) != len(roots):
        raise CollectionError(
            f"{path} is not a collection of jlocal: a table is missing; delete it and index again",
            path=path,
        )


@cache
def _schema_of(statements: str) -> frozenset[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(statements)
        found = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master")
        return frozenset((*names, _plain(sql)) for *names, sql in found)


def _plain(sql: object) -> object:
    """Return a statement as each version of SQLite would keep it.

    Without line breaks and indentation, also where a column was added; and without the quotes of
    the names that FTS5 gives its tables.
    """
    if not isinstance(sql, str):
        return sql
    sql = re.sub(r" ?([(),]) ?", r"\1", " ".join(sql.split()))
    return re.sub(r"^CREATE TABLE (['\"])(\w+)\1", r"CREATE TABLE \2", sql)
