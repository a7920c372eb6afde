"""Embedding of texts: the Embedder, the stream behind it, and a run over documents.

This package knows no SQLite, no terminal and no structures of llama.cpp.
"""
