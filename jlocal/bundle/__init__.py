"""Bundles: models and, optionally, jlocal its dependencies, in one file for offline machines."""
