"""`jlocal pull`: download models from the hub."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from jlocal.cli.completion import complete_published
from jlocal.cli.options import confirm, size_text
from jlocal.cli.output_options import quiet_option
from jlocal.progress import log

if TYPE_CHECKING:
    from jlocal.models.catalogue import Reference
    from jlocal.models.hub import RemoteFile
    from jlocal.models.registry import Installed


@dataclass(frozen=True)
class _ToConvert:
    """A file to convert on this machine from a base repository."""

    repository: str
    revision: str
    license: str | None


@click.command("pull")
@click.argument(
    "names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete_published
)
@click.option("--revision", help="Branch, tag or commit of the repository; main if not given.")
@click.option(
    "--convert",
    "may_convert",
    is_flag=True,
    help="Convert a type that is not published, on this machine.",
)
@click.option("-y", "--yes", is_flag=True, help="Accept the licence without asking.")
@quiet_option("progress", "notes")
def command(
    names: tuple[str, ...], revision: str | None, may_convert: bool, yes: bool, quiet: bool
) -> None:
    """Download models by name, and print their paths.

    NAME is small or nano, which are for retrieval, or a name with a task and a type as below, or
    any OWNER/REPO:TYPE of the hub. The type is Q8_0 if not given. A model that is already on this
    machine is checked, and an interrupted download continues where it stopped.

    \b
    jlocal pull small
    jlocal pull nano-text-matching:F16 small-clustering:Q4_K_M
    jlocal pull small:Q5_0 --convert
    """
    from jlocal.errors import HubError
    from jlocal.models.catalogue import parse
    from jlocal.models.offline import is_offline

    references = {reference.name: reference for reference in map(parse, names)}
    if is_offline():
        raise HubError(
            f"cannot pull {' '.join(references)} while offline; unset JLOCAL_OFFLINE and "
            "HF_HUB_OFFLINE, or pull on a connected machine and carry it over with `jlocal bundle`"
        )
    plan = [
        (reference, _source(reference, revision, may_convert)) for reference in references.values()
    ]
    _accept_licences(plan, yes=yes, quiet=quiet)
    show = not quiet and sys.stderr.isatty()
    for reference, source in plan:
        click.echo(_bring(reference, source, show=show, quiet=quiet).path)


def _source(
    reference: Reference, revision: str | None, may_convert: bool
) -> RemoteFile | _ToConvert | Installed:
    """Ask the hub for the source of a model; a model that was made here or imported is kept."""
    from jlocal.errors import ModelError, NotPublishedError
    from jlocal.models import hub, registry
    from jlocal.models.listing import read_listing

    installed = registry.find(reference.name)
    own = installed if installed and installed.cached is None else None
    if own and own.source == "convert" and may_convert:
        return own
    try:
        remote = hub.locate(reference, revision)
    except NotPublishedError as error:
        if reference.model is None:
            raise
        if not may_convert:
            raise NotPublishedError(
                f"{error}; make it here with `jlocal pull {reference.name} --convert`"
            ) from error
        listing = read_listing(reference.model.base, revision)
        return _ToConvert(reference.model.base, listing.commit, listing.license)
    if own and own.sha256 != remote.digest:
        raise ModelError(
            f"another {own.name} is on this machine ({own.source}, {own.path}); to take the "
            f"hub's, `jlocal rm {own.name}` first"
        )
    return own or remote


def _accept_licences(
    plan: list[tuple[Reference, RemoteFile | _ToConvert | Installed]], *, yes: bool, quiet: bool
) -> None:
    """Show the files to download and their licences, and ask."""
    from jlocal.models.hub import RemoteFile

    new = 0
    for reference, source in plan:
        if isinstance(source, RemoteFile) and source.is_cached:
            continue
        if isinstance(source, RemoteFile):
            what = f"{source.repository}, {source.file}, {size_text(source.size)}"
        elif isinstance(source, _ToConvert):
            what = f"{source.repository}, to convert here"
        else:
            continue
        new += 1
        licence = source.license or (reference.model.license if reference.model else None)
        if not (quiet and yes):
            terms = f"licence {licence}" if licence else "licence not stated: see the repository"
            if licence and "-nc" in licence:
                terms += " (no commercial use)"
            log(f"{reference.name}: {what}; {terms}")
    if new and not yes:
        confirm(
            "Accept and download?",
            "there is no terminal to ask on; to accept the licence, add --yes",
        )


def _bring(
    reference: Reference, source: RemoteFile | _ToConvert | Installed, *, show: bool, quiet: bool
) -> Installed:
    from jlocal.models import hub, registry
    from jlocal.models.registry import Installed

    if isinstance(source, Installed):
        return source
    facts = {"type": reference.type, "license": source.license}
    if reference.model:
        facts |= {
            "task": reference.model.task,
            "license": source.license or reference.model.license,
        }
    if isinstance(source, _ToConvert):
        return _convert(reference, source, facts, show=show, quiet=quiet)

    def on_wait() -> None:
        log(f"Waiting for another process that downloads {reference.name}")

    cached = hub.download(source, show_progress=show, on_wait=None if quiet else on_wait)
    return registry.record_cached(cached, reference.name, facts | {"sha256": source.digest})


def _convert(
    reference: Reference,
    source: _ToConvert,
    facts: dict[str, str | None],
    *,
    show: bool,
    quiet: bool,
) -> Installed:
    """Make the file in a folder beside its final path, so that it appears whole or not at all."""
    from jlocal.cli.progress import progress_bar
    from jlocal.errors import OutputError
    from jlocal.locations import home, make_private
    from jlocal.models import registry
    from jlocal.models.locks import locked
    from jlocal.outputs.staging import scratch_folder
    from jlocal_convert import convert as run

    assert reference.model
    models = home() / "models"

    def on_wait() -> None:
        log(f"Waiting for another process that makes {reference.name}")

    try:
        with locked(registry.lock_file(reference.name), None if quiet else on_wait):
            made = registry.find(reference.name)
            if made and made.source == "convert" and made.revision == source.revision:
                return made
            make_private(home())
            models.mkdir(mode=0o755, exist_ok=True)
            with scratch_folder(models) as folder:
                with progress_bar(show=show) as progress:
                    (file,) = run(
                        source.repository,
                        tasks=(reference.model.task,),
                        types=(reference.type,),
                        output=folder,
                        revision=source.revision,
                        progress=progress,
                    )
                record = facts | {
                    "name": reference.name,
                    "source": "convert",
                    "revision": source.revision,
                }
                return registry.install_file(file, record)
    except OSError as error:
        raise OutputError(f"cannot convert in {models}: {error.strerror or error}") from error
