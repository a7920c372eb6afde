"""The GGUF format without an engine: headers and their consistency.

Nothing here loads weights or imports llama.cpp.
"""
