"""`python -m jlocal` is `jlocal`."""

from jlocal.cli import main

if __name__ == "__main__":
    main()
