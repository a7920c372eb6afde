"""The HTTP server: `jlocal serve`. It is a door: nothing below imports it."""
