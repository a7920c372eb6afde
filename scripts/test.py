"""Install what the tests need, and run all of them; arguments go to pytest."""

from __future__ import annotations

import sys

from environment import PYTHON, install, run


def main() -> None:
    """Make the environment, and run pytest in it."""
    install("dev")
    run(PYTHON, "-m", "nox", "--session", "test", "--", *sys.argv[1:])


if __name__ == "__main__":
    main()
