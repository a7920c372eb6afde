"""Resolution of a path or a repository's name to a local checkpoint folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from jlocal.errors import CheckpointError, HubError
from jlocal.models.cache import cached_file
from jlocal.models.catalogue import TASKS
from jlocal.models.hub import download, remote_file
from jlocal.models.listing import read_listing
from jlocal.models.offline import is_offline
from jlocal.models.transfer import ConnectionFailedError

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
    # The configurations of all adapters, so that an error can list them.
    "adapters/*/adapter_config.json",
)
_MAX_FILES = 2000


def locate(
    checkpoint: str | Path,
    tasks: Sequence[str] | None = None,
    revision: str | None = None,
    *,
    show_progress: bool = False,
) -> Path:
    """Find a checkpoint's folder; download it if the name is no path.

    Args:
        checkpoint: a local folder, or a repository of the hub as `owner/name`.
        tasks: adapters to download; None is retrieval.
        revision: branch, tag or commit of a repository.
        show_progress: show a download's progress on stderr.

    Raises:
        CheckpointError: there is no such folder, or it is local and a revision was named.
        HubError: the hub cannot be reached, or does not have the repository.

    """
    path = Path(checkpoint).expanduser()
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{str(path)[:80]!r} cannot be a folder: {error}") from error
    if is_folder:
        if revision is not None:
            raise CheckpointError(f"{path} is a folder; only a repository has revisions", path=path)
        return path
    if exists:
        raise CheckpointError(f"{path} is a file; give the folder of a checkpoint", path=path)
    if isinstance(checkpoint, str) and _REPOSITORY.fullmatch(checkpoint):
        if is_offline():
            return _from_cache(checkpoint, revision)
        return _download(checkpoint, tasks or ("retrieval",), revision, show_progress)
    raise CheckpointError(
        f"no such folder: {path}; give a checkpoint's folder, or a repository as owner/name",
        path=path,
    )


def _download(
    repository: str, tasks: Sequence[str], revision: str | None, show_progress: bool
) -> Path:
    """Download the files that a conversion reads: never code, never pickled weights."""
    requested = (
        TASKS if "all" in tasks else [task for task in tasks if re.fullmatch(r"[\w-]+", task)]
    )
    adapters = [f"adapters/{task}/adapter_model.safetensors" for task in requested]
    try:
        listing = read_listing(repository, revision)
    except HubError as error:
        if isinstance(error.__cause__, ConnectionFailedError):
            return _from_cache(repository, revision)
        raise
    patterns = (*_FILES, *adapters)
    names = [
        name
        for name in sorted(listing.entries)
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    ]
    if len(names) > _MAX_FILES:
        raise HubError(
            f"{repository} lists {len(names):,} files, too many for a checkpoint; check its name"
        )
    # Look at all files before downloading the first.
    for file in [remote_file(listing, name, revision) for name in names]:
        download(file, show_progress=show_progress)
    return cached_file(repository, listing.commit, "config.json").path.parent


def _from_cache(repository: str, revision: str | None) -> Path:
    """Find an earlier download."""
    from huggingface_hub import constants, snapshot_download

    try:
        return Path(snapshot_download(repository, revision=revision, local_files_only=True))
    # It raises several exceptions, and other ones in other releases.
    except Exception as error:
        raise HubError(
            f"{repository} is not on this machine, and {constants.ENDPOINT} cannot be reached; run "
            f"`hf download {repository}` on a connected machine, and give the folder's path"
        ) from error
