"""Porter stems of English words, as the full-text index computes them."""

from __future__ import annotations

import contextlib
import functools
import sqlite3


@functools.lru_cache(maxsize=4096)
def stem(word: str) -> str:
    """Return the Porter stem of a word of small ASCII letters and digits.

    SQLite computes it (https://www.sqlite.org/fts5.html#porter_tokenizer), so that it is the stem
    that a search compares.
    """
    # A database for each word takes a quarter of a millisecond. One for all words would need a
    # lock, and after a Ctrl-C between two statements its transaction would be in disorder.
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("CREATE VIRTUAL TABLE word USING fts5 (text, tokenize='porter ascii')")
        connection.execute("CREATE VIRTUAL TABLE stems USING fts5vocab (word, row)")
        connection.execute("INSERT INTO word VALUES (?)", (word,))
        row = connection.execute("SELECT term FROM stems").fetchone()
    return str(row[0]) if row else word
