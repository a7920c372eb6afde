"""Check that a file is a collection that jlocal made, before anything in it is trusted.

A collection may come from a stranger. A view or a trigger in place of a table would run, and a pipe
beside the file would block.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from functools import cache
from pathlib import Path

from jlocal.errors import CollectionError
from jlocal.outputs.sqlite import FileKind
from jlocal.printable import printable

# No schema of ours has longer statements, or more.
_LONGEST_STATEMENT = 10_000
_MOST_OBJECTS = 100

# Broken links between tables, and a statement for each that gives a row if the link is broken.
MISSING = {
    "a document lacks its content": "SELECT 1 FROM document "
    "WHERE typeof(content_id) <> 'integer' OR content_id NOT IN (SELECT id FROM content) LIMIT 1",
    "a chunk lacks its content": "SELECT 1 FROM chunk "
    "WHERE typeof(passage_id) <> 'integer' OR content_id NOT IN (SELECT id FROM content) LIMIT 1",
    # `+id` makes SQLite read the ids from an index, which is much smaller than the table.
    "a chunk lacks its passage": "SELECT 1 FROM chunk "
    "WHERE passage_id NOT IN (SELECT +id FROM passage) LIMIT 1",
}


COLLECTION = FileKind(
    error=CollectionError,
    name="a collection of jlocal",
    use="read or write",
    outcome="what was finished is kept",
    if_damaged="delete it and index again",
    if_unusable="name another file",
)


def check_schema(connection: sqlite3.Connection, path: Path, statements: str) -> None:
    """Compare the tables and indices with those of our own statements.

    Raises:
        CollectionError: a table or index is missing, added or changed.

    """
    if connection.execute("PRAGMA encoding").fetchone() != ("UTF-8",):
        raise CollectionError(
            f"{path} is not a collection of jlocal: its encoding is not UTF-8", path=path
        )
    objects = connection.execute(
        "SELECT type, name, tbl_name, CASE WHEN length(sql) <= ? THEN sql END, sql IS NULL, "
        "rootpage FROM sqlite_master LIMIT ?",
        (_LONGEST_STATEMENT, _MOST_OBJECTS),
    ).fetchall()
    expected = _schema_of(statements)
    actual = {
        (type, name, table, None if has_none else _plain(sql))
        for type, name, table, sql, has_none, _ in objects
    }
    for type, name, *_ in sorted(actual - expected, key=repr):
        description = printable(f"{type} {name}")[:100]
        raise CollectionError(
            f"{path} is not a collection of jlocal: it has another {description}; delete it and "
            "index again",
            path=path,
        )
    # Two tables must not share pages. A virtual table has no page.
    roots = [root for *_, sql, _, root in objects if not str(sql).startswith("CREATE VIRTUAL")]
    if len(objects) != len(expected) or len(set(roots)) != len(roots):
        raise CollectionError(
            f"{path} is not a collection of jlocal: a table is missing; delete it and index again",
            path=path,
        )


@cache
def _schema_of(statements: str) -> frozenset[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(statements)
        objects = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master")
        return frozenset((*names, _plain(sql)) for *names, sql in objects)


def _plain(sql: object) -> object:
    """Return a statement in a form that is the same in each version of SQLite.

    It has no line breaks and no indentation, even where a column was added; and no quotes around
    the names that FTS5 gives its tables.
    """
    if not isinstance(sql, str):
        return sql
    sql = re.sub(r" ?([(),]) ?", r"\1", " ".join(sql.split()))
    return re.sub(r"^CREATE TABLE (['\"])(\w+)\1", r"CREATE TABLE \2", sql)
