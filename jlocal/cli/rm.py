"""`jlocal rm`: models off this machine."""

from __future__ import annotations

import click

from jlocal.cli.options import confirm, size_text
from jlocal.progress import say


@click.command("rm")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("-y", "--yes", is_flag=True, help="Remove without being asked.")
@click.option("-q", "--quiet", is_flag=True, help="No notes.")
def command(names: tuple[str, ...], yes: bool, quiet: bool) -> None:
    """Remove models by name, and free their room on the disk.

    Of huggingface_hub's cache, all revisions of the file go; its other files stay.

    \b
    jlocal rm small nano-text-matching:F16
    """
    from jlocal.errors import ModelError
    from jlocal.models.starter import is_meant
    from jlocal.models.store import Installed, find, remove

    models: dict[str, Installed] = {}
    for name in names:
        if is_meant(name):
            raise ModelError(f"{name} is a part of jlocal itself; only what was added is removed")
        model = find(name)
        if model is None:
            raise ModelError(f"{name[:80]!r} is not on this machine; `jlocal list` shows what is")
        models[model.name] = model
    if not yes:
        for model in models.values():
            say(f"{model.name}  {size_text(model.size)}  {model.path}")
        confirm("Remove?", "nothing is removed without a terminal to ask on; use --yes")
    for model in models.values():
        remove(model)
        if not quiet:
            say(f"Removed {model.name}, {size_text(model.size)}")
