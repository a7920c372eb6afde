"""The first lines of a child process that `jlocal.child` starts.

This file is run as a script by an isolated Python (`-I`), so it must import nothing of jlocal: the
search path is set here, and so are the limits that hold for everything imported afterwards.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys

_PR_SET_PDEATHSIG = 1


def _end_with(parent: int) -> None:
    """End this process when its parent ends, even by SIGKILL (Linux)."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have ended before the line above.
    if os.getppid() != parent:
        os._exit(1)


def _limit(memory: int | None, output: int | None) -> None:
    """Bound the address space and the size of each written file, where the system can."""
    if sys.platform == "win32":
        return
    import resource

    for limit, size in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_FSIZE, output)):
        if size is not None:
            try:
                resource.setrlimit(limit, (size, size))
            except (OSError, ValueError):  # macOS does not accept every limit
                continue


def _main() -> None:
    order = json.loads(sys.argv[1])
    _end_with(order["parent"])
    _limit(order["memory"], order["output"])
    sys.path[:] = order["path"]
    sys.argv[:] = [order["module"], *sys.argv[2:]]
    runpy.run_module(order["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
