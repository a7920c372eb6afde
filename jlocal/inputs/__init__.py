"""From files, standard input and records to texts, all of it hostile until it is read.

Nothing here knows a model, a vector or a terminal.
"""
