"""From what a user calls a checkpoint to a local folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from convert.checkpoint import TASKS
from jlocal.errors import CheckpointError, HubError
from jlocal.models.hub import explain, hub_progress
from jlocal.models.offline import is_offline

# https://huggingface.co/docs/huggingface_hub/package_reference/utilities#validate-repo-id
_REPOSITORY = re.compile(r"[A-Za-z0-9_][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}", re.ASCII)

_FILES = (
    "config.json",
    "config_sentence_transformers.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "model.safetensors.index.json",
    "model*.safetensors",
    "README.md",
    # All of them, so that an error can say which adapters there are.
    "adapters/*/adapter_config.json",
)


def locate(
    checkpoint: str | Path,
    tasks: Sequence[str] | None = None,
    revision: str | None = None,
    *,
    show_progress: bool = False,
) -> Path:
    """Find a checkpoint's folder; what is no path is downloaded.

    Args:
        checkpoint: a local folder, or a repository of the hub as `owner/name`.
        tasks: adapters to download; None is retrieval.
        revision: branch, tag or commit of a repository.
        show_progress: let the hub show a download's progress on stderr.

    Raises:
        CheckpointError: there is no such folder, or a revision of a local one was asked for.
        HubError: the hub cannot be reached, or does not have it.

    """
    path = Path(checkpoint).expanduser()
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{str(path)[:80]!r} cannot be a folder: {error}") from error
    if is_folder:
        if revision is not None:
            raise CheckpointError(f"{path} is a folder; only a repository has revisions")
        return path
    if exists:
        raise CheckpointError(f"{path} is a file; give the folder of a checkpoint")
    if isinstance(checkpoint, str) and _REPOSITORY.fullmatch(checkpoint):
        with hub_progress(show_progress):
            return _download(checkpoint, tasks or ("retrieval",), revision)
    raise CheckpointError(
        f"no such folder: {path}; give a checkpoint's folder, or a repository as owner/name"
    )


def _download(repository: str, tasks: Sequence[str], revision: str | None) -> Path:
    """Download what a conversion reads: never code, never pickled weights."""
    from huggingface_hub import snapshot_download

    wanted = TASKS if "all" in tasks else [task for task in tasks if re.fullmatch(r"[\w-]+", task)]
    adapters = [f"adapters/{task}/adapter_model.safetensors" for task in wanted]
    try:
        folder = snapshot_download(
            repository,
            revision=revision,
            allow_patterns=[*_FILES, *adapters],
            local_files_only=is_offline(),
        )
    # Which exceptions a network failure raises depends on the release of huggingface_hub: it has
    # changed its HTTP library.
    except Exception as error:
        raise HubError(_explain(error, repository, revision)) from error
    return Path(folder)


def _explain(error: Exception, repository: str, revision: str | None) -> str:
    from huggingface_hub import constants, errors

    if isinstance(error, errors.LocalEntryNotFoundError | ConnectionError):
        return (
            f"{repository} is not on this machine and {constants.ENDPOINT} cannot be reached; run "
            f"`hf download {repository}` on a connected machine and give the folder's path"
        )
    return explain(error, repository, revision)
