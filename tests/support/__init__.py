"""Helpers for tests: checkpoints, hostile files, a hub, a browser, references."""
