"""From texts to vectors: the Embedder, the stream behind it, and a run over documents.

Nothing here knows SQLite, a terminal or llama.cpp's structures.
"""
