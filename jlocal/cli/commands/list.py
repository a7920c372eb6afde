"""`jlocal list`: the models on this machine."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import click

from jlocal.cli import output
from jlocal.cli.group import Command
from jlocal.cli.options import size_text
from jlocal.cli.output_options import json_option
from jlocal.printable import printable

if TYPE_CHECKING:
    from jlocal.models.registry import Installed

_HEADINGS = ("NAME", "TYPE", "SIZE", "TASK", "USED", "WHERE")


@click.command("list", cls=Command)
@json_option
def command(as_json: bool) -> None:
    """List the models on this machine.

    These are the models that were downloaded, converted by `jlocal pull --convert` or installed
    from a bundle, every GGUF file in huggingface_hub's cache, and the starter model, which comes
    with jlocal.

    \b
    jlocal list
    jlocal list --json
    """
    from jlocal.models.registry import installed
    from jlocal.models.starter import installed_starter

    models = [*installed(), installed_starter()]
    if as_json:
        output.data([_facts(model) for model in models], indent=2)
        return
    rows = [_HEADINGS, *(tuple(map(printable, _row(model))) for model in models)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        output.line(line.rstrip())


def _facts(model: Installed) -> dict[str, object]:
    facts = {
        field.name: getattr(model, field.name)
        for field in dataclasses.fields(model)
        if field.name not in ("cached", "last_used")
    }
    used = model.last_used
    at = (
        None
        if used is None
        else datetime.fromtimestamp(used, timezone.utc).isoformat("T", "seconds")
    )
    return facts | {"path": str(model.path), "used": at}


def _row(model: Installed) -> tuple[str, ...]:
    used = (
        "-"
        if model.last_used is None
        else f"{datetime.fromtimestamp(model.last_used):%Y-%m-%d %H:%M}"
    )
    return (
        model.name,
        model.type or "-",
        size_text(model.size),
        model.task or "-",
        used,
        str(model.path),
    )
