"""Collections: texts embedded once, kept in one SQLite file, and found by meaning."""
