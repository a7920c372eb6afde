"""From a query to hits: candidates by words and by meaning, and one order of them.

Nothing here writes.
"""
