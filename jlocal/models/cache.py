"""GGUF files in huggingface_hub's cache, read from disk only.

The layout is huggingface_hub's own: models--OWNER--REPO/snapshots/COMMIT/FILE links to a file in
models--OWNER--REPO/blobs that has its SHA-256 as its name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PREFIX = "models--"
_SHA256 = re.compile(r"[0-9a-f]{64}")

_MAX_NAME, _MAX_PART = 1000, 240
# https://learn.microsoft.com/windows/win32/fileio/naming-a-file
_ON_WINDOWS = re.compile(
    r'[<>:"|?*\\]|[. ]$|^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]) *(\.|$)', re.IGNORECASE
)


@dataclass(frozen=True)
class Cached:
    """One file of one revision of a repository.

    Attributes:
        revision: the commit, in hexadecimal.
        file: its path inside the repository.
        path: the file to open.

    """

    repository: str
    revision: str
    file: str
    path: Path

    @property
    def path_of_repository(self) -> Path:
        """The folder with all revisions of the repository."""
        return repository_folder(self.repository)

    @property
    def sha256(self) -> str | None:
        """SHA-256 under which the cache keeps it; None where the cache has no links."""
        name = Path(os.path.realpath(self.path)).name
        return name if _SHA256.fullmatch(name) else None


def is_safe(name: str) -> bool:
    """Tell whether a name from outside is a relative path that every system takes as it is."""
    return (
        len(name.encode("utf-8", "surrogatepass")) <= _MAX_NAME
        and name.isprintable()
        and all(
            part not in ("", ".", "..")
            and len(part.encode()) <= _MAX_PART
            and not _ON_WINDOWS.search(part)
            for part in name.split("/")
        )
    )


def cache_folder() -> Path:
    """Return the folder that HF_HUB_CACHE or HF_HOME name."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def repository_folder(repository: str) -> Path:
    """Say where the cache keeps a repository, whether it is there or not."""
    return cache_folder() / (_PREFIX + repository.replace("/", "--"))


def cached_file(repository: str, revision: str, file: str) -> Cached:
    """Say where the cache keeps a file, whether it is there or not."""
    folder = repository_folder(repository) / "snapshots"
    return Cached(repository, revision, file, folder / revision / file)


def cached_files() -> Iterator[Cached]:
    """Go through all GGUF files of the cache, the newest download of each first."""
    for folder in sorted(cache_folder().glob(f"{_PREFIX}*--*")):
        repository = folder.name.removeprefix(_PREFIX).replace("--", "/", 1)
        found = [path for path in (folder / "snapshots").rglob("*.gguf") if path.is_file()]
        seen = set()
        for path in sorted(found, key=lambda path: path.lstat().st_mtime, reverse=True):
            revision, *parts = path.relative_to(folder / "snapshots").parts
            if (file := "/".join(parts)) and file not in seen:
                seen.add(file)
                yield Cached(repository, revision, file, path)


def revisions(cached: Cached) -> list[Cached]:
    """List all revisions of a file that are in the cache."""
    folders = sorted((cached.path_of_repository / "snapshots").glob("*"))
    every = (cached_file(cached.repository, folder.name, cached.file) for folder in folders)
    return [other for other in every if other.path.is_file()]


def free(cached: Cached) -> None:
    """Remove a file from its revision, and what it took on disk unless another revision has it.

    Raises:
        OSError: it cannot be removed.

    """
    snapshots = cached.path_of_repository / "snapshots"
    blob = Path(os.path.realpath(cached.path))
    others = [path for path in snapshots.rglob("*") if path.is_file() and path != cached.path]
    revision = snapshots / cached.revision
    if not any(revision in path.parents for path in others):
        # The strategy of huggingface_hub takes whole revisions, with their refs.
        from huggingface_hub import scan_cache_dir

        scan_cache_dir(cache_folder()).delete_revisions(cached.revision).execute()
    else:
        cached.path.unlink()
        if blob != cached.path and not any(os.path.realpath(path) == str(blob) for path in others):
            blob.unlink()
    if cached.path.exists():
        raise OSError(f"{cached.path} is still there")
