"""Install what the tests need, and run them; arguments go to pytest."""

from __future__ import annotations

import sys

from environment import PYTHON, install, run


def main() -> None:
    """Do it all."""
    install("-e", ".[test]")
    # A file's tests stay in one process, which makes their models once. More processes than four
    # would need more memory than a laptop has.
    parallel = ("-n", "logical", "--maxprocesses", "4", "--dist", "loadfile")
    run(PYTHON, "-m", "pytest", *parallel, *sys.argv[1:])


if __name__ == "__main__":
    main()
