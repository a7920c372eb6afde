"""The SQLite file of a collection: its tables, and how they are read and written.

Nothing here reads a user's files or loads a model.
"""
