"""Output on a terminal: hits, excerpts, columns, progress and reports."""
