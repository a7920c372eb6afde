"""Errors as answers: the part of an exception that a client may know, without paths of the disk."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import PurePath
from typing import TYPE_CHECKING

from jlocal.errors import (
    ArgumentError,
    BusyError,
    CollectionError,
    EmptyCollectionError,
    ExtraError,
    FileError,
    JlocalError,
    MissingCollectionError,
    ModelError,
    Overloaded,
    TextError,
    TextTooLongError,
)
from jlocal.terms import Argument, reworded

if TYPE_CHECKING:
    from jlocal.terms import Term

# Absolute paths of POSIX and Windows, up to the last separator.
_FOLDERS = re.compile(r"(?<![\w/:.])(?:[A-Za-z]:[\\/]|\\\\|~?/)(?:[^\s\"'<>|:;,\\/]+[\\/])*")


class Kind(Enum):
    """A kind of error, whatever the protocol calls it; the value is its usual status."""

    INVALID = 400
    TOO_LONG = 400.1  # a text is above the model's context
    EMPTY = 400.2  # there is nothing to embed
    UNABLE = 400.3  # embedding models cannot do it
    UNAUTHORIZED = 401
    FORBIDDEN = 403
    NOT_FOUND = 404
    NOT_ALLOWED = 405  # the method of the request
    SLOW = 408
    OVERLOADED = 429
    INTERNAL = 500
    UNAVAILABLE = 503

    @property
    def status(self) -> int:
        """The HTTP status."""
        return int(self.value)


class Problem(Exception):
    """A request cannot be answered as asked.

    Attributes:
        kind: of the error.
        message: one line for the client.
        parameter: the field of the request that is wrong; None where no single one is.
        retry_after: seconds after which the request may succeed; None where it will not.

    """

    def __init__(
        self,
        kind: Kind,
        message: str,
        *,
        parameter: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.kind, self.message = kind, message
        self.parameter, self.retry_after = parameter, retry_after

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.kind.status


def invalid(message: str, parameter: str | None = None) -> Problem:
    """Return the problem of a field with a wrong value."""
    return Problem(Kind.INVALID, message, parameter=parameter)


def problem_of(error: Exception) -> Problem:
    """Return the message to a client about an exception."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, Overloaded):
        return Problem(Kind.OVERLOADED, str(error), retry_after=1)
    if isinstance(error, TextTooLongError):
        where = "the input" if error.index is None else f"input {error.index}"
        return Problem(
            Kind.TOO_LONG,
            f"{where} has {error.tokens:,} tokens, and the limit is {error.limit:,}; split it, or "
            "send truncate: true",
            parameter="input",
        )
    if isinstance(error, TextError):
        where = "the input" if error.index is None else f"input {error.index}"
        return invalid(f"{where} {_message(error.reason)}", "input")
    if not isinstance(error, JlocalError):
        return Problem(Kind.INTERNAL, "the server has failed; its log has the reason")
    return Problem(
        _kind(error),
        _hidden(error),
        parameter=error.argument if isinstance(error, ArgumentError) else None,
        retry_after=1 if isinstance(error, BusyError) else None,
    )


def _kind(error: JlocalError) -> Kind:
    if isinstance(error, ArgumentError):
        return Kind.INVALID
    if isinstance(error, (MissingCollectionError, EmptyCollectionError)):
        return Kind.NOT_FOUND
    if isinstance(error, (ModelError, CollectionError, ExtraError)):
        return Kind.UNAVAILABLE
    return Kind.INTERNAL


def _hidden(error: JlocalError) -> str:
    """Return the message of an error without folders of the disk."""
    message = _message(error.message)
    path = error.path if isinstance(error, FileError) else None
    if path is not None:
        message = message.replace(str(path), PurePath(path).name)
    return without_folders(message)


def without_folders(message: str) -> str:
    """Return a message in which of each absolute path only the name is left."""
    return _FOLDERS.sub("", message)


def _message(text: str) -> str:
    return reworded(text, _word)


def _word(term: Term) -> str:
    """Word an argument of Python as a field of a request."""
    if not isinstance(term, Argument):
        return str(term)
    if term.name == "on_long":
        return "truncate: true"
    return term.name if term.value is None else f"{term.name}: {term.value}"
