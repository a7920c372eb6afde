"""From a GGUF file to smaller ones, with or without calibration.

Nothing here knows a checkpoint.
"""
