"""Locks between processes; the end of a process releases its locks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from jlocal.locations import make_private

OnWait = Callable[[], None]


@contextmanager
def locked(path: Path, on_wait: OnWait | None = None) -> Iterator[None]:
    """Hold a lock on a file; wait for it without a limit.

    Args:
        path: the lock file, which is not removed.
        on_wait: called once, after waiting for another process for one second.

    Raises:
        OSError: the file cannot be created.

    """
    from filelock import Timeout
    from huggingface_hub.utils import WeakFileLock

    make_private(path.parent)
    with ExitStack() as stack:
        try:
            stack.enter_context(WeakFileLock(path, timeout=1))
        except Timeout:
            if on_wait:
                on_wait()
            stack.enter_context(WeakFileLock(path))
        yield
