"""`jlocal forget`: remove a folder from a collection."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jlocal.cli.database import database_option, flag
from jlocal.cli.options import confirm
from jlocal.cli.output_options import quiet_option, yes_option
from jlocal.printable import printable
from jlocal.progress import log

if TYPE_CHECKING:
    from jlocal.collection.database.store import Store
    from jlocal.collection.index.forget import Forgetting

# Seconds to wait for an indexer of the collection.
_WAIT = 10


@click.command("forget")
@click.argument("folder", type=click.Path(path_type=Path))
@database_option
@yes_option("Forget")
@quiet_option("notes")
def command(folder: Path, database: Path, yes: bool, quiet: bool) -> None:
    """Remove a folder from a collection, with its documents.

    `jlocal update` no longer reads it; the files themselves stay. FOLDER may also be a file, and
    need not exist any more. The texts are hidden from every search, and `jlocal index --compact`
    deletes them for good.

    \b
    jlocal forget ~/old-notes
    """
    from jlocal.collection.database.lock import sole_indexer
    from jlocal.collection.database.store import Store
    from jlocal.collection.index.forget import forget

    with contextlib.closing(Store(database)) as store:
        planned = _plan(store, folder)
        count = len(planned.documents)
        what = "its document" if count == 1 else f"its {count:,} documents"
        if not yes:
            question = f"Forget {folder}, and remove {what}?"
            if planned.outer:
                question = f"Forget {folder}? Its files stay, as a part of {planned.outer}."
            confirm(question, "there is no terminal to ask on; to forget without asking, add --yes")
        with sole_indexer(database, _WAIT):
            forget(store, folder)
    if quiet:
        return
    if planned.outer:
        log(f"Forgot {folder}; its files stay, as a part of {planned.outer}.")
    else:
        log(f"Forgot {folder}, and removed {what}.")
        if count:
            log(f"Note: jlocal index --compact{flag(database)} deletes the texts for good.")


def _plan(store: Store, folder: Path) -> Forgetting:
    from jlocal.collection.index.forget import plan
    from jlocal.errors import InsideFolderError

    try:
        return plan(store, folder)
    except InsideFolderError as error:
        inside = error.path.relative_to(error.outer)
        command = shlex.join(["jlocal", "index", str(error.outer), "--exclude", str(inside)])
        reason = f"{folder} is a part of {error.outer}; to exclude it: {command}{flag(store.path)}"
        raise click.ClickException(printable(reason)) from error
