"""Diagnosing why jlocal does not work, or is slow."""
