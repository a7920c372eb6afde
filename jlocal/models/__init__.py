"""Models on disk and on the hub: names, metadata, downloads. Nothing here loads weights."""
