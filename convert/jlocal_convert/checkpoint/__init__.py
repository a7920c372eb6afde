"""Reading a published checkpoint: its files, adapters, tokenizer and network.

This package writes no files.
"""
