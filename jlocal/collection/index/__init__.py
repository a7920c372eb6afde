"""Index files in a collection: a run finds, reads, embeds, skips and removes files."""
