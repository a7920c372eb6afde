"""`jlocal rm`: models off this machine."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jlocal.cli.options import confirm, size_text
from jlocal.progress import say

if TYPE_CHECKING:
    from jlocal.models.store import Installed


@click.command("rm")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("-y", "--yes", is_flag=True, help="Remove without being asked.")
@click.option("-q", "--quiet", is_flag=True, help="No notes.")
def command(names: tuple[str, ...], yes: bool, quiet: bool) -> None:
    """Remove models by name, and free their room on the disk.

    Of huggingface_hub's cache, all revisions of the file go; its other files stay. Of a model that
    was never completely downloaded, what has come so far is removed.

    \b
    jlocal rm small nano-text-matching:F16
    """
    from jlocal.models.store import remove

    found = [_find(name) for name in dict.fromkeys(names)]
    models = {model.name: model for model, _ in found if model}
    parts = {path: size for _, sizes in found for path, size in sizes.items()}
    if not yes:
        for model in models.values():
            say(f"{model.name}  {size_text(model.size)}  {model.path}")
        for path, size in parts.items():
            say(f"an unfinished download  {size_text(size)}  {path}")
        confirm("Remove?", "nothing is removed without a terminal to ask on; use --yes")
    for model in models.values():
        remove(model)
        if not quiet:
            say(f"Removed {model.name}, {size_text(model.size)}")
    for path, size in parts.items():
        _remove_part(path)
        if not quiet:
            say(f"Removed an unfinished download, {size_text(size)}")


def _find(name: str) -> tuple[Installed | None, dict[Path, int]]:
    """Find a model, or else what broken downloads of its repositories have left, with sizes."""
    from jlocal.errors import ModelError
    from jlocal.models import parts
    from jlocal.models.catalogue import parse
    from jlocal.models.starter import is_meant
    from jlocal.models.store import find

    if is_meant(name):
        raise ModelError(f"{name} is a part of jlocal itself; only what was added is removed")
    if model := find(name):
        return model, {}
    with suppress(ModelError):
        if unfinished := parts.parts(parse(name).repositories):
            return None, {path: path.stat().st_size for path in unfinished}
    raise ModelError(f"{name[:80]!r} is not on this machine; `jlocal list` shows what is")


def _remove_part(path: Path) -> None:
    from jlocal.errors import ModelError, OutputError
    from jlocal.models.parts import remove_part

    try:
        if not remove_part(path):
            raise ModelError(f"another process is downloading {path}; end it first")
    except OSError as error:
        raise OutputError(f"cannot remove {path}: {error.strerror or error}") from error
