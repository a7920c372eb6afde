"""Files that are written completely or not at all, and the journal of an unfinished run.

This package does not know where vectors come from.
"""
