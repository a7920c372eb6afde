"""Reading texts from files, standard input and records, all of which is untrusted input.

This package knows no model, vector or terminal.
"""
