"""From files to a collection: a run over folders, and what such a run keeps, skips and removes."""
