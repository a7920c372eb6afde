"""Files that are written completely or not at all, and the journal of an unfinished run.

Nothing here knows where vectors come from.
"""
