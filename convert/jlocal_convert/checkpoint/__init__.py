"""A checkpoint as it was published: its files, adapters, tokenizer and network.

Nothing here writes a file.
"""
