"""The files that this process opens: which they are, and a system that refuses one.

Python announces each file that it opens to its audit hooks, which cannot be removed; this one does
nothing outside the two contexts.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

_listeners: list[Callable[[str], None]] = []


@contextmanager
def opened_files() -> Iterator[list[str]]:
    """Collect the paths that are opened."""
    paths: list[str] = []
    with _listening(paths.append):
        yield paths


@contextmanager
def refused(path: Path) -> Iterator[None]:
    """Let nobody open a file; without its permissions, root still could."""

    def refuse(opened: str) -> None:
        if opened == str(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), opened)

    with _listening(refuse):
        yield


@contextmanager
def _listening(listener: Callable[[str], None]) -> Iterator[None]:
    _hook()
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


@cache
def _hook() -> None:
    def hear(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and isinstance(arguments[0], (str, bytes)):
            for listener in _listeners:
                listener(os.fsdecode(arguments[0]))

    sys.addaudithook(hear)
