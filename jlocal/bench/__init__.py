"""Benchmarking model files on this machine: speed, memory, and the cosines of their vectors."""
