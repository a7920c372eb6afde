"""`jlocal show`: show the metadata of a GGUF file."""

from __future__ import annotations

import click

from jlocal.cli import output
from jlocal.cli.completion import complete_model
from jlocal.cli.group import Command
from jlocal.cli.output_options import json_option

# Names in a header may have any length.
_WIDEST = 48


@click.command("show", cls=Command)
@click.argument("model", required=False, envvar="JLOCAL_MODEL", shell_complete=complete_model)
@json_option
@click.option("--header", is_flag=True, help="Show all metadata of the file's header instead.")
def command(model: str | None, as_json: bool, header: bool) -> None:
    """Show prompts, context, dimensions and origin of a model.

    MODEL is the name of a model on this machine, or the path of a GGUF file. If not given, it is
    the only model on this machine, or the starter model.

    \b
    jlocal show small
    jlocal show model.gguf --header
    """
    from jlocal.cli.options import default_model
    from jlocal.gguf.header import read_header
    from jlocal.models.info import metadata_of, model_info, provenance
    from jlocal.models.names import resolve

    read = read_header(resolve(model or default_model(quiet=True)))
    facts = metadata_of(read) if header else model_info(read) | provenance(read.path)
    if as_json:
        output.data(facts, indent=2)
        return
    width = min(max(map(len, facts)), _WIDEST) + 2
    for name, value in facts.items():
        output.line(f"{name:{width}}{_text(value)}")


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value)) or "-"
    if isinstance(value, dict):
        return "  ".join(f"{key}={text!r}" for key, text in value.items()) or "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
