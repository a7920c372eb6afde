"""Install what the tests need, and run them; arguments go to pytest."""

from __future__ import annotations

import sys

from environment import PYTHON, install, run


def main() -> None:
    """Do it all."""
    install("-e", ".[test]")
    run(PYTHON, "-m", "pytest", *sys.argv[1:])


if __name__ == "__main__":
    main()
