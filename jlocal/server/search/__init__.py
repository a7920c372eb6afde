"""Searching collections through the server, under names: no path of the disk goes in or out."""
