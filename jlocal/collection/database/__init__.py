"""The file of a collection: SQLite, its tables, what is read from them and written to them.

Nothing here reads a user's files or loads a model.
"""
