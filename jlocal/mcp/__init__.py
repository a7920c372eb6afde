"""Collections as tools of the Model Context Protocol, for programs that let a model search."""

from jlocal.extras import require


def check_installed() -> None:
    """Raise ExtraError unless the packages of the protocol are installed."""
    require("mcp", "the Model Context Protocol needs")
