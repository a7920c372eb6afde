"""Word the library's messages for the command line: options in place of arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jlocal.errors import JlocalError
from jlocal.terms import Argument, Message, reworded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jlocal.terms import Term

# Other arguments are called as their options are: `on_long` and --on-long.
_OPTIONS = {
    "calibration": "--calibrate",
    "model": "-m",
    "output": "-o",
    "overwrite": "--force",
}
_METHODS = {"Collection.index": "jlocal index PATH…", "jlocal.inputs.lines.read_lines": "-i"}


def message(error: JlocalError) -> str:
    """Return an error's message as the command line words it, a quoted cause's included."""
    return worded(Message(error.message, *_terms_of_causes(error)))


def _terms_of_causes(error: BaseException) -> Iterator[Term]:
    while cause := error.__cause__:
        if isinstance(cause, JlocalError):
            yield from cause.message.terms
        error = cause


def worded(text: str) -> str:
    """Return a text of the library as the command line words it."""
    return reworded(text, _word)


def _word(term: Term) -> str:
    if not isinstance(term, Argument):
        return _METHODS.get(term.name, str(term))
    option = _OPTIONS.get(term.name) or f"--{term.name.replace('_', '-')}"
    if term.value is None or term.value is True:
        return option
    values = term.value if isinstance(term.value, list) else [term.value]
    return " ".join(f"{option} {value}" for value in values)
