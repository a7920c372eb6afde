"""The tables of older formats of a collection's file, as they were made."""

from __future__ import annotations

FORMAT_1 = """
CREATE TABLE setting (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE model_file (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, sha256 TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE content (id INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE);
CREATE TABLE document (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,
    stamp TEXT,
    content_id INTEGER NOT NULL REFERENCES content (id)
);
CREATE INDEX document_content ON document (content_id);
CREATE TABLE passage (
    id INTEGER PRIMARY KEY,
    sha256 BLOB NOT NULL UNIQUE,
    vector BLOB NOT NULL,
    text TEXT NOT NULL
);
CREATE TABLE chunk (
    content_id INTEGER NOT NULL REFERENCES content (id) ON DELETE CASCADE,
    record INTEGER NOT NULL,
    start INTEGER NOT NULL,
    "end" INTEGER NOT NULL,
    first_line INTEGER NOT NULL,
    last_line INTEGER NOT NULL,
    passage_id INTEGER NOT NULL REFERENCES passage (id),
    PRIMARY KEY (content_id, record, start)
) WITHOUT ROWID;
CREATE INDEX chunk_passage ON chunk (passage_id);
CREATE TABLE code (block INTEGER PRIMARY KEY, passage_ids BLOB NOT NULL, bits BLOB NOT NULL);
"""

FORMAT_2 = """
CREATE TABLE setting (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE model_file (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, sha256 TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE folder (path TEXT PRIMARY KEY, options TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE content (id INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE);
CREATE TABLE document (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,
    stamp TEXT,
    content_id INTEGER NOT NULL REFERENCES content (id),
    is_added INTEGER NOT NULL DEFAULT 0,
    metadata TEXT
);
CREATE INDEX document_content ON document (content_id);
CREATE TABLE passage (
    id INTEGER PRIMARY KEY,
    sha256 BLOB NOT NULL UNIQUE,
    vector BLOB NOT NULL,
    text TEXT NOT NULL,
    heading TEXT NOT NULL DEFAULT ''
);
CREATE TABLE chunk (
    content_id INTEGER NOT NULL REFERENCES content (id) ON DELETE CASCADE,
    record INTEGER NOT NULL,
    start INTEGER NOT NULL,
    "end" INTEGER NOT NULL,
    first_line INTEGER NOT NULL,
    last_line INTEGER NOT NULL,
    passage_id INTEGER NOT NULL REFERENCES passage (id),
    PRIMARY KEY (content_id, record, start)
) WITHOUT ROWID;
CREATE INDEX chunk_passage ON chunk (passage_id);
CREATE TABLE code (block INTEGER PRIMARY KEY, passage_ids BLOB NOT NULL, bits BLOB NOT NULL);
CREATE VIRTUAL TABLE words USING fts5 (
    heading, text, content='',
    tokenize="porter unicode61 remove_diacritics 2 categories 'L* N* Co Mn Mc'"
);
CREATE VIRTUAL TABLE path_words USING fts5 (
    path, content='',
    tokenize="porter unicode61 remove_diacritics 2 categories 'L* N* Co Mn Mc'"
);
"""
