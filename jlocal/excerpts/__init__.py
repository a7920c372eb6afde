"""Excerpts of passages: the part that shows why it was found, and the words of the query in it."""
