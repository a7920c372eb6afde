"""Resumable embedding of a corpus in shards, by any number of processes and machines.

The package knows no engine: any program can call a `Worker` for each shard.
"""
