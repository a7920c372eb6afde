"""Locks between processes, which end with the process that holds them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from jlocal.locations import make_private

OnWait = Callable[[], None]


@contextmanager
def locked(path: Path, on_wait: OnWait | None = None) -> Iterator[None]:
    """Hold a lock file; wait for it as long as it takes.

    Args:
        path: of the lock file; it stays.
        on_wait: called once if another process has held it for a second.

    Raises:
        OSError: the file cannot be made.

    """
    from filelock import Timeout
    from huggingface_hub.utils import WeakFileLock

    make_private(path.parent)
    with ExitStack() as held:
        try:
            held.enter_context(WeakFileLock(path, timeout=1))
        except Timeout:
            if on_wait:
                on_wait()
            held.enter_context(WeakFileLock(path))
        yield
