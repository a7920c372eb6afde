"""The option `--encoding`, and the report of files that are not UTF-8."""

from __future__ import annotations

from collections.abc import Mapping

import click

from jlocal.cli import flags
from jlocal.progress import log


def _known_encoding(
    _context: click.Context, _option: click.Parameter, name: str | None
) -> str | None:
    from jlocal.errors import ArgumentError
    from jlocal.inputs.encodings import python_name

    try:
        return None if name is None else python_name(name)
    except ArgumentError as error:
        raise click.BadParameter(flags.message(error)) from error


encoding_option = click.option(
    "--encoding",
    metavar="NAME",
    callback=_known_encoding,
    help="Encoding of texts that are not UTF-8, for example cp1252 or cp932. If not given, it is "
    "guessed, and a text whose encoding is not clear is reported.",
)


def log_encodings(counts: Mapping[str, int], indent: str = "") -> None:
    """Log how many files were read in each encoding."""
    for encoding, count in sorted(counts.items()):
        log(f"{indent}{count:,} {'file' if count == 1 else 'files'} read as {encoding}")
