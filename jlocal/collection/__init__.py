"""Collections: texts embedded once, kept in one SQLite file, and searched by words and meaning."""
