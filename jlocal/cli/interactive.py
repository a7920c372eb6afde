"""Answer queries one after the other, from a prompt on a terminal or the lines of a pipe."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from jlocal.cli import flags, output, signals
from jlocal.cli.display.hits import as_row, show
from jlocal.cli.display.screen import Screen
from jlocal.cli.opener import open_hit
from jlocal.errors import ArgumentError, TextError, TextTooLongError
from jlocal.filenames import rejoined
from jlocal.printable import printable
from jlocal.progress import log

if TYPE_CHECKING:
    from jlocal.collection.search.hits import Hit

_PROMPT = "search> "

Search = Callable[[str], "list[Hit]"]


def converse(
    first: str | None, search: Search, screen: Screen, *, as_json: bool, quiet: bool = False
) -> int:
    """Answer queries until there are no more.

    Args:
        first: a query that is answered before any is read.
        search: finds the hits of a query.
        screen: where the hits are shown.
        as_json: print one line of JSON for each query.
        quiet: do not explain the prompt.

    Returns:
        1 where the queries came from a pipe and some could not be answered, otherwise 0.

    """
    at_terminal = sys.stdin is not None and sys.stdin.isatty()
    is_dialogue = at_terminal and screen.is_terminal
    page = _JsonPage() if as_json else _Page(screen, headed=not is_dialogue)
    if is_dialogue and not (as_json or quiet):
        log("Ask a question. A number opens that hit; an empty line ends.")
    count = failed = 0
    for place, query in _queries(first, at_terminal):
        count += 1
        try:
            if isinstance(query, TextError):
                raise query
            if not (at_terminal and page.opens(query)):
                page.answer(query, search(query))
        except (TextError, ArgumentError) as error:
            failed += 1
            page.failure(place, query, _reason(error))
        except KeyboardInterrupt:
            if not at_terminal:
                raise
            signals.forget()
            log("Interrupted.")
    if failed and not at_terminal:
        log(f"Error: {failed:,} of {count:,} queries could not be answered.")
        return 1
    return 0


def _reason(error: TextError | ArgumentError) -> str:
    if isinstance(error, TextTooLongError):
        return f"the query has {error.tokens:,} tokens, above the limit of {error.limit:,}"
    if isinstance(error, TextError):
        return f"the query {flags.worded(error.reason)}"
    return flags.message(error)


class _Page:
    """Answers for a person, with an empty line after each."""

    def __init__(self, screen: Screen, *, headed: bool) -> None:
        self._screen, self._headed = screen, headed
        self._hits: list[Hit] = []

    def opens(self, query: str) -> bool:
        """Open the hit of the last query that this number names, if it is one."""
        number = int(query) if query.strip().isascii() and query.strip().isdecimal() else 0
        if not 1 <= number <= len(self._hits):
            return False
        try:
            open_hit(self._hits[number - 1])
        except click.ClickException as error:
            log(f"Error: {error.message}")
        return True

    def answer(self, query: str, hits: list[Hit]) -> None:
        self._hits = hits
        self._head(query)
        show(hits, query, self._screen)
        click.echo()

    def failure(self, place: str, query: str | TextError, reason: str) -> None:
        self._head(query)
        log(f"Error: {place}{reason}")
        click.echo()

    def _head(self, query: str | TextError) -> None:
        if self._headed:
            click.echo(f"> {printable(query) if isinstance(query, str) else ''}".rstrip())


class _JsonPage:
    """Answers for a program: exactly one line for each query."""

    def opens(self, query: str) -> bool:
        del query
        return False

    def answer(self, query: str, hits: list[Hit]) -> None:
        self._print({"query": query, "hits": [as_row(hit) for hit in hits]})

    def failure(self, place: str, query: str | TextError, reason: str) -> None:
        del place
        self._print({"query": query if isinstance(query, str) else None, "error": reason})

    @staticmethod
    def _print(row: dict[str, object]) -> None:
        output.data(row)


def _queries(first: str | None, at_terminal: bool) -> Iterator[tuple[str, str | TextError]]:
    """Yield queries, each with its place for error messages."""
    if first is not None:
        yield "", first
    if at_terminal:
        for line in _typed():
            yield "", line
    elif sys.stdin is not None:
        # Without a standard input there are no queries, as with an empty one.
        with contextlib.suppress(output.ClosedInputError):
            yield from _piped()


def _typed() -> Iterator[str | TextError]:
    """Ask until there is an empty line, Ctrl-D or Ctrl-C."""
    with contextlib.suppress(ImportError):
        # `input` then edits lines, and remembers them as long as this process lives.
        importlib.import_module("readline")
    while True:
        try:
            line = _ask()
        except UnicodeDecodeError:
            yield TextError("is not text in the terminal's encoding")
            continue
        except (EOFError, KeyboardInterrupt):
            signals.forget()
            click.echo(err=True)
            return
        if not line.strip():
            return
        yield rejoined(line)


def _ask() -> str:
    if sys.stdout.isatty():
        return input(_PROMPT)
    # `input` would write its prompt among the results.
    click.echo(_PROMPT, nl=False, err=True)
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.removesuffix("\n")


def _piped() -> Iterator[tuple[str, str | TextError]]:
    from jlocal.inputs.documents import Document
    from jlocal.inputs.lines import read_lines

    # A guess at another encoding would read ahead, and so answer late.
    lines = read_lines(sys.stdin.buffer, "standard input", encoding="utf-8")
    for number, line in enumerate(lines, start=1):
        query = line.text if isinstance(line, Document) else TextError(f"is {line.reason}")
        yield f"line {number:,}: ", query
