"""Quantisation of GGUF files, with or without calibration.

This package knows no checkpoints.
"""
