"""The HTTP server: `jlocal serve`. It is a door: nothing below imports it."""

from jlocal.extras import require


def check_installed() -> None:
    """Raise ExtraError unless the packages of the server are installed."""
    require("serve", "the server needs")
