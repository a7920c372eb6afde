"""Resolving a model's name to a GGUF file on disk. Nothing here uses the network."""

from __future__ import annotations

import os
from pathlib import Path

from jlocal.errors import ModelError
from jlocal.files import sha256_of
from jlocal.models import catalogue, registry, starter
from jlocal.models.offline import is_offline
from jlocal.terms import Argument


def resolve(model: str | Path, *, offline: bool | None = None) -> Path:
    """Return the path of a model's file.

    Args:
        model: path of a `.gguf` file, or the name of a model on this machine; "starter" is the
            model that comes with jlocal.
        offline: whether the message about a missing model is for an offline machine; None takes
            it from the environment.

    Raises:
        ModelError: no file and no model on this machine has this name; the message says how to
            get the model.

    """
    if path := _existing_file(model):
        return path
    if isinstance(model, Path) or _is_path(model):
        raise ModelError(f"no such file: {model}{_suggest_file(model)}", path=Path(model))
    if starter.is_starter(model):
        return starter.FILE
    if model_file := registry.find(model):
        registry.mark_used(model_file)
        return model_file.path
    if broken := registry.find_damaged(model):
        raise ModelError(
            f"{broken.path} is damaged: its size is not the {broken.size:,} bytes that were "
            f"checked; `jlocal pull {broken.name}` or install its bundle again",
            path=broken.path,
        )
    raise ModelError(missing_message(model, is_offline() if offline is None else offline))


def default_model() -> str:
    """Return the name of the default model.

    It is the model of JLOCAL_MODEL, the only model on this machine, or the starter model.

    Raises:
        ModelError: several models are on this machine, or a record cannot be read.

    """
    if chosen := os.environ.get("JLOCAL_MODEL"):
        return chosen
    models = registry.installed()
    if len(models) > 1:
        names = ", ".join(model.name for model in models)
        model = Argument("model")
        raise ModelError(
            f"name a model with {model}, or in JLOCAL_MODEL; on this machine are {names}", model
        )
    return models[0].name if models else starter.NAME


def file_of_sha256(sha256: str) -> Path | None:
    """Return the file of a model on this machine by its SHA-256; None if there is none.

    Raises:
        ModelError: a record cannot be read.

    """
    for model in registry.installed():
        if model.sha256 == sha256:
            return model.path
    return starter.FILE if sha256_of(starter.FILE) == sha256 else None


def missing_message(name: str, offline: bool) -> str:
    """Explain how to get a model that is not on this machine.

    Raises:
        ModelError: the name is not a model's name.

    """
    try:
        requested = catalogue.parse(name).name
    except ModelError:
        near = _suggest_model(name)
        hint = f"did you mean {near}?" if near else f"on this machine: {', '.join(local_names())}"
        pull_hint = "" if near else "; `jlocal pull small` downloads another"
        raise ModelError(f"there is no model {name[:80]!r}; {hint}{pull_hint}") from None
    typed = name if "/" in name else requested
    if not offline:
        return f"{typed} is not on this machine; get it with `jlocal pull {requested}`"
    return (
        f"{typed} is not on this machine, which is offline; on a connected one, run "
        f"`jlocal pull {requested}` and `jlocal bundle create {requested} -o model.tar`, "
        "carry model.tar over, and run `jlocal bundle install model.tar`"
    )


def _suggest_file(model: str | Path) -> str:
    """Suggest a file with a similar name in the same folder."""
    path = Path(model).expanduser()
    try:
        files = [file.name for file in path.parent.glob("*.gguf")]
    except (OSError, ValueError):
        files = []
    near = catalogue.closest(path.name, files)
    return f"; did you mean {path.parent / near}?" if near else "; pass the path of a .gguf file"


def local_names() -> list[str]:
    """List the names of the models on this machine, including the starter model."""
    return [starter.NAME, *(model.name for model in registry.installed())]


def _suggest_model(name: str) -> str | None:
    """Return the closest name, and how to get its model if it is not on this machine."""
    local = local_names()
    short = [model.partition(":")[0] for model in local]
    published = catalogue.closest_published(name)
    near = catalogue.closest(name, (*local, *short, *filter(None, [published]))) or published
    if near is None or near in (*local, *short) or registry.find(near):
        return near
    return f"{near}, which `jlocal pull {near}` downloads"


def _existing_file(model: str | Path) -> Path | None:
    """Return the path if the file exists, or None."""
    try:
        path = Path(model).expanduser()
        if str(model) and path.is_dir():
            # A folder does not hide an installed model of the same name.
            if isinstance(model, str) and not _is_path(model) and _is_installed(model):
                return None
            files = sorted(model_file.name for model_file in path.glob("*.gguf"))
            inside = f"name one of: {', '.join(files)}" if files else "it has no .gguf file"
            raise ModelError(f"{path} is a folder; {inside}", path=path)
        return path if str(model) and path.exists() else None
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelError(f"cannot use {str(model)[:80]!r} as a model: {reason}") from error


def _is_installed(name: str) -> bool:
    return starter.is_starter(name) or registry.find(name) is not None


def _is_path(model: str) -> bool:
    return (
        model.endswith(".gguf")
        or model.startswith((".", "/", "~"))
        or "\\" in model
        or model.count("/") > 1
    )
