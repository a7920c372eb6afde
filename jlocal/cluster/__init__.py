"""Embedding of a corpus in shards, by any number of processes and machines, and resumable.

It knows no engine: any that calls a `Worker` for each shard will do.
"""
