"""Porter stems of English words, as the full-text index computes them."""

from __future__ import annotations

import functools
import sqlite3
import threading

_lock = threading.Lock()


@functools.lru_cache(maxsize=4096)
def stem(word: str) -> str:
    """Return the Porter stem of a word of small ASCII letters and digits.

    SQLite computes it (https://www.sqlite.org/fts5.html#porter_tokenizer), so that it is the stem
    that a search compares.
    """
    with _lock:
        connection = _connection()
        connection.execute("INSERT INTO word VALUES (?)", (word,))
        row = connection.execute("SELECT term FROM stems").fetchone()
        connection.execute("ROLLBACK")
        connection.execute("BEGIN")
    return str(row[0]) if row else word


@functools.cache
def _connection() -> sqlite3.Connection:
    """Open a database in memory, within a transaction that is never committed."""
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    connection.execute("CREATE VIRTUAL TABLE word USING fts5 (text, tokenize='porter ascii')")
    connection.execute("CREATE VIRTUAL TABLE stems USING fts5vocab (word, row)")
    connection.execute("BEGIN")
    return connection
