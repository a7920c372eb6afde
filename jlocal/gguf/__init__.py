"""The GGUF format without an engine: headers and their consistency.

This package does not load weights or import llama.cpp.
"""
