"""What a person sees on a terminal: hits, excerpts, columns, progress and reports."""
