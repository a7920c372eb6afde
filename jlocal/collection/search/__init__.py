"""Search a collection: find candidates by words and by meaning, and fuse their scores.

Nothing here writes the file.
"""
