"""`jlocal rm`: remove models from this machine."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jlocal.cli.completion import complete_installed
from jlocal.cli.options import confirm, size_text
from jlocal.cli.output_options import quiet_option, yes_option
from jlocal.progress import log

if TYPE_CHECKING:
    from jlocal.models.registry import Installed


@click.command("rm")
@click.argument(
    "names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete_installed
)
@yes_option("Remove")
@quiet_option("notes")
def command(names: tuple[str, ...], yes: bool, quiet: bool) -> None:
    """Remove models by name, and free their space on the disk.

    A model in huggingface_hub's cache is removed in all its revisions; other files of the cache
    stay. The files of unfinished downloads are removed too.

    \b
    jlocal rm small nano-text-matching:F16
    """
    from jlocal.models.registry import remove

    targets = [_find(name) for name in dict.fromkeys(names)]
    models = {model.name: model for model, _ in targets if model}
    parts = {path: size for _, sizes in targets for path, size in sizes.items()}
    if not yes:
        for model in models.values():
            log(f"{model.name}  {size_text(model.size)}  {model.path}")
        for path, size in parts.items():
            log(f"an unfinished download  {size_text(size)}  {path}")
        confirm("Remove?", "there is no terminal to ask on; to remove without asking, add --yes")
    for model in models.values():
        remove(model)
        if not quiet:
            log(f"Removed {model.name}, {size_text(model.size)}")
    for path, size in parts.items():
        _remove_part(path)
        if not quiet:
            log(f"Removed an unfinished download, {size_text(size)}")


def _find(name: str) -> tuple[Installed | None, dict[Path, int]]:
    """Find a model, or else the unfinished downloads of its repositories, with their sizes."""
    from jlocal.errors import ModelError
    from jlocal.models import parts
    from jlocal.models.catalogue import closest, parse
    from jlocal.models.registry import find, installed
    from jlocal.models.starter import is_starter

    if is_starter(name):
        raise ModelError(f"{name} comes with jlocal and cannot be removed")
    if model := find(name):
        return model, {}
    with suppress(ModelError):
        if unfinished := parts.list_parts(parse(name).repositories):
            return None, {path: path.stat().st_size for path in unfinished}
    near = closest(name, (model.name for model in installed()))
    hint = f"did you mean {near}?" if near else "`jlocal list` shows the models that are"
    raise ModelError(f"{name[:80]!r} is not on this machine; {hint}")


def _remove_part(path: Path) -> None:
    from jlocal.errors import ModelError, OutputError
    from jlocal.models.parts import remove_part

    try:
        if not remove_part(path):
            raise ModelError(f"another process is downloading {path}; end it first")
    except OSError as error:
        raise OutputError(f"cannot remove {path}: {error.strerror or error}") from error
