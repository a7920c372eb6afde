"""Output on a terminal: hits, progress and reports."""
