"""The standard streams: output is written whole, or raises an error."""

from __future__ import annotations

import errno
import io
import json
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TextIO

from jlocal.errors import JlocalError
from jlocal.printable import printable, printable_json

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer


class StandardOutputError(JlocalError):
    """Standard output cannot be written.

    Attributes:
        reason: why not.
        is_left: whether its reader has gone, as with `| head`, and need not be told.

    """

    def __init__(self, reason: str, *, is_left: bool) -> None:
        self.reason, self.is_left = reason, is_left
        super().__init__(f"cannot write standard output: {reason}")

    @classmethod
    def of(cls, error: OSError) -> StandardOutputError:
        """Make one from an error of the system."""
        reason = "it is closed" if error.errno == errno.EBADF else str(error.strerror)
        return cls(reason, is_left=isinstance(error, BrokenPipeError))


class ClosedInputError(OSError):
    """Standard input was closed when the program was started."""


def open_streams() -> None:
    """Prepare the standard streams; for the beginning of a program.

    Afterwards `sys.stdout` writes all or raises StandardOutputError, and `sys.stderr`, on which
    nothing depends, never raises. Characters that the encoding lacks are escaped.
    """
    # A file that is opened later must not take the number of a closed stream. Opened the wrong way
    # round, those of data fail as when they are closed.
    for descriptor, mode in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest number that is free, which is this one.
            os.open(os.devnull, mode)
            os.set_inheritable(descriptor, True)
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(_Closed()), "utf-8")
    sys.stdout = _open(sys.stdout, 1, needed=True)
    sys.stderr = _open(sys.stderr, 2, needed=False)


def line(text: str = "") -> None:
    """Print a line on standard output, without characters that control a terminal."""
    print(printable(text))  # noqa: T201


def styled(text: str = "") -> None:
    """Print a line with escape sequences of our own, whose other parts are printable."""
    import click

    # Click turns the sequences into calls where Windows wants that.
    click.echo(text, color=True)


def data(value: object, indent: int | None = None) -> None:
    """Print a value as JSON on standard output; None for the indent makes it one line."""
    text = printable_json(value, indent)
    if not text.isascii() and sys.stdout.encoding.lower() not in ("utf-8", "utf8"):
        # JSON in another encoding is none, and a stream's escapes are not those of JSON.
        text = "".join(map(_escaped, text))
    print(text, flush=indent is None)  # noqa: T201


def _escaped(letter: str) -> str:
    return letter if letter.isascii() else json.dumps(letter)[1:-1]


def path(name: Path, end: str = os.linesep) -> None:
    """Print a path on standard output: exactly, or on a terminal without control characters."""
    if sys.stdout.isatty():
        line(str(name))
    else:
        with binary() as file:
            file.write(_bytes_of(str(name)) + end.encode())


def _bytes_of(name: str) -> bytes:
    try:
        return os.fsencode(name)
    except UnicodeEncodeError:  # the id of a text, in letters that this locale lacks
        return name.encode("utf-8", "surrogatepass")


@contextmanager
def binary() -> Iterator[BinaryIO]:
    """Give standard output for bytes; they are written when the block ends."""
    sys.stdout.flush()
    yield sys.stdout.buffer
    sys.stdout.buffer.flush()


class _Closed(io.RawIOBase):
    """Standard input where there is none."""

    def readable(self) -> bool:
        return True

    def readinto(self, _buffer: WriteableBuffer, /) -> int:
        raise ClosedInputError(errno.EBADF, "standard input is closed")


class _Checked(io.RawIOBase):
    """Writes to another file; after the first error, it drops all later output.

    Python would otherwise try again when the program ends, and complain once more.
    """

    def __init__(self, file: io.RawIOBase, *, needed: bool) -> None:
        self._file, self._needed, self._failed = file, needed, False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def isatty(self) -> bool:
        return self._file.isatty()

    def write(self, content: ReadableBuffer, /) -> int:
        if not self._failed:
            try:
                while (count := self._file.write(content)) is None:
                    # It is non-blocking, and full.
                    select.select([], [self._file], [])
                return count
            except OSError as error:
                self._failed = True
                if self._needed:
                    raise StandardOutputError.of(error) from None
        return memoryview(content).nbytes


class _Unbuffered(io.BufferedWriter):
    """An unbuffered stream, for PYTHONUNBUFFERED; a raw file may write less than it is given."""

    def write(self, content: ReadableBuffer, /) -> int:
        count = super().write(content)
        self.flush()
        return count


def _open(stream: TextIO | None, descriptor: int, *, needed: bool) -> TextIO:
    """Wrap the file of a standard stream; None where it was closed."""
    inner = getattr(stream, "buffer", None)
    file = getattr(inner, "raw", inner) or io.FileIO(descriptor, "wb", closefd=False)
    kind = _Unbuffered if getattr(inner, "raw", None) is None and inner else io.BufferedWriter
    checked = _Checked(file, needed=needed)
    return io.TextIOWrapper(
        kind(checked),
        stream.encoding if stream else "utf-8",
        errors="backslashreplace",
        line_buffering=not needed or checked.isatty(),
    )
