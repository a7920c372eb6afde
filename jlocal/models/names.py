"""From what a user calls a model to a GGUF file on disk. Nothing here opens a connection."""

from __future__ import annotations

import os
from pathlib import Path

from jlocal.errors import ModelError
from jlocal.models import catalogue, registry, starter
from jlocal.models.offline import is_offline
from jlocal.terms import Argument


def resolve(model: str | Path, *, offline: bool | None = None) -> Path:
    """Find the file of a model.

    Args:
        model: path of a `.gguf` file, or the name of a model on this machine; "starter" is the
            one that comes with jlocal.
        offline: what the message about a missing model says; None asks the environment.

    Raises:
        ModelError: there is no such file and no such model here; the message says how to get it.

    """
    if path := _file(model):
        return path
    if isinstance(model, Path) or _is_path(model):
        raise ModelError(f"no such file: {model}{_near_file(model)}", path=Path(model))
    if starter.is_meant(model):
        return starter.FILE
    if found := registry.find(model):
        registry.mark_used(found)
        return found.path
    if broken := registry.damaged(model):
        raise ModelError(
            f"{broken.path} is damaged: its size is not the {broken.size:,} bytes that were "
            f"checked; `jlocal pull {broken.name}` or install its bundle again",
            path=broken.path,
        )
    raise ModelError(missing(model, is_offline() if offline is None else offline))


def default() -> str:
    """Choose the model when none is named.

    That is the one of JLOCAL_MODEL, the only one on this machine, or the starter model.

    Raises:
        ModelError: there are several, or a record cannot be read.

    """
    if named := os.environ.get("JLOCAL_MODEL"):
        return named
    models = registry.installed()
    if len(models) > 1:
        names = ", ".join(model.name for model in models)
        model = Argument("model")
        raise ModelError(
            f"name a model with {model}, or in JLOCAL_MODEL; on this machine are {names}", model
        )
    return models[0].name if models else starter.NAME


def missing(name: str, offline: bool) -> str:
    """Say how to get a model that is not on this machine.

    Raises:
        ModelError: the name means nothing.

    """
    try:
        wanted = catalogue.parse(name).name
    except ModelError:
        near = _near(name)
        hint = f"did you mean {near}?" if near else f"on this machine: {', '.join(known())}"
        more = "" if near else "; `jlocal pull small` gets another"
        raise ModelError(f"there is no model {name[:80]!r}; {hint}{more}") from None
    if not offline:
        return f"{wanted} is not on this machine; get it with `jlocal pull {wanted}`"
    return (
        f"{wanted} is not on this machine, which is offline; on a connected one, run "
        f"`jlocal pull {wanted}` and `jlocal bundle create {wanted} -o model.tar`, "
        "carry model.tar over, and run `jlocal bundle install model.tar`"
    )


def _near_file(model: str | Path) -> str:
    """Name a file of nearly this name in the same folder."""
    path = Path(model).expanduser()
    try:
        files = [file.name for file in path.parent.glob("*.gguf")]
    except (OSError, ValueError):
        files = []
    near = catalogue.nearest(path.name, files)
    return f"; did you mean {path.parent / near}?" if near else "; pass the path of a .gguf file"


def known() -> list[str]:
    """List the names of the models on this machine, the starter model's included."""
    return [starter.NAME, *(model.name for model in registry.installed())]


def _near(name: str) -> str | None:
    """Return what is spelled most like a name, and how to get a model that is not here."""
    here = known()
    short = [model.partition(":")[0] for model in here]
    published = catalogue.near(name)
    near = catalogue.nearest(name, (*here, *short, *filter(None, [published]))) or published
    if near is None or near in (*here, *short) or registry.find(near):
        return near
    return f"{near}, which `jlocal pull {near}` gets"


def _file(model: str | Path) -> Path | None:
    """Return the path of a file that is there."""
    try:
        path = Path(model).expanduser()
        if str(model) and path.is_dir():
            # A folder of the name of a model that is here does not hide the model.
            if isinstance(model, str) and not _is_path(model) and _is_here(model):
                return None
            files = sorted(found.name for found in path.glob("*.gguf"))
            inside = f"name one of: {', '.join(files)}" if files else "it has no .gguf file"
            raise ModelError(f"{path} is a folder; {inside}", path=path)
        return path if str(model) and path.exists() else None
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelError(f"cannot use {str(model)[:80]!r} as a model: {reason}") from error


def _is_here(name: str) -> bool:
    return starter.is_meant(name) or registry.find(name) is not None


def _is_path(model: str) -> bool:
    return (
        model.endswith(".gguf")
        or model.startswith((".", "/", "~"))
        or "\\" in model
        or model.count("/") > 1
    )
