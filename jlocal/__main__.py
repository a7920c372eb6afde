"""The entry point of `jlocal` and `python -m jlocal`."""

import os
import sys

import jlocal


def _leave_current_folder() -> None:
    """Remove the current folder from the search path, unless this package is in it.

    `-m` and an empty entry in PYTHONPATH put it on the search path, where someone else's `numpy.py`
    may be.
    """
    if not _is_here(os.path.dirname(os.path.dirname(jlocal.__file__))):
        sys.path[:] = [entry for entry in sys.path if not _is_here(entry or ".")]


def _is_here(folder: str) -> bool:
    try:
        return os.path.samefile(folder, ".")
    except OSError:  # the entry may not exist, or the current folder may be deleted
        return False


def _interrupted(*_: object) -> None:
    os.write(2, b"Interrupted.\n")
    os._exit(130)


def main() -> None:
    """Run the command line."""
    _leave_current_folder()
    import signal

    # Until there is something to clean up, Ctrl-C ends the process without a traceback.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupted)
    from jlocal.cli import main as run

    run()


if __name__ == "__main__":
    main()
