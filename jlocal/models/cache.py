"""GGUF files in huggingface_hub's cache; nothing here uses the network.

The layout is huggingface_hub's own: models--OWNER--REPO/snapshots/COMMIT/FILE is a link to a file
in models--OWNER--REPO/blobs whose name is its SHA-256.
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
_INVALID_ON_WINDOWS = re.compile(
    r'[<>:"|?*\\]|[. ]$|^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]) *(\.|$)', re.IGNORECASE
)


@dataclass(frozen=True)
class CachedFile:
    """One file of one revision of a repository.

    Attributes:
        revision: the commit, in hexadecimal.
        file: path inside the repository.
        path: path on disk.

    """

    repository: str
    revision: str
    file: str
    path: Path

    @property
    def repository_folder(self) -> Path:
        """The folder with all revisions of the repository."""
        return repository_folder(self.repository)

    @property
    def sha256(self) -> str | None:
        """SHA-256 by the name of the blob; None if the cache holds copies instead of links."""
        name = Path(os.path.realpath(self.path)).name
        return name if _SHA256.fullmatch(name) else None


def is_safe(name: str) -> bool:
    """Return whether a name from outside is a relative path that is valid on every system."""
    return (
        len(name.encode("utf-8", "surrogatepass")) <= _MAX_NAME
        and name.isprintable()
        and all(
            part not in ("", ".", "..")
            and len(part.encode()) <= _MAX_PART
            and not _INVALID_ON_WINDOWS.search(part)
            for part in name.split("/")
        )
    )


def cache_folder() -> Path:
    """Return the folder of the cache, which HF_HUB_CACHE or HF_HOME may set."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def repository_folder(repository: str) -> Path:
    """Return the cache folder of a repository, which need not exist."""
    return cache_folder() / (_PREFIX + repository.replace("/", "--"))


def cached_file(repository: str, revision: str, file: str) -> CachedFile:
    """Return the location of a file in the cache, where it need not exist."""
    folder = repository_folder(repository) / "snapshots"
    return CachedFile(repository, revision, file, folder / revision / file)


def cached_files() -> Iterator[CachedFile]:
    """Yield each GGUF file of the cache, in its latest downloaded revision."""
    for folder in sorted(cache_folder().glob(f"{_PREFIX}*--*")):
        repository = folder.name.removeprefix(_PREFIX).replace("--", "/", 1)
        paths = [path for path in (folder / "snapshots").rglob("*.gguf") if path.is_file()]
        seen = set()
        for path in sorted(paths, key=lambda path: path.lstat().st_mtime, reverse=True):
            revision, *parts = path.relative_to(folder / "snapshots").parts
            if (file := "/".join(parts)) and file not in seen:
                seen.add(file)
                yield CachedFile(repository, revision, file, path)


def revisions(cached: CachedFile) -> list[CachedFile]:
    """List the cached revisions of a file."""
    folders = sorted((cached.repository_folder / "snapshots").glob("*"))
    candidates = (cached_file(cached.repository, folder.name, cached.file) for folder in folders)
    return [candidate for candidate in candidates if candidate.path.is_file()]


def delete_cached(cached: CachedFile) -> None:
    """Remove a file from its revision, and its blob unless another revision links to it.

    Raises:
        OSError: the file cannot be removed.

    """
    snapshots = cached.repository_folder / "snapshots"
    blob = Path(os.path.realpath(cached.path))
    other_files = [path for path in snapshots.rglob("*") if path.is_file() and path != cached.path]
    revision = snapshots / cached.revision
    if not any(revision in path.parents for path in other_files):
        # huggingface_hub deletes only whole revisions, with their refs.
        from huggingface_hub import scan_cache_dir

        scan_cache_dir(cache_folder()).delete_revisions(cached.revision).execute()
    else:
        cached.path.unlink()
        if blob != cached.path and not any(
            os.path.realpath(path) == str(blob) for path in other_files
        ):
            blob.unlink()
    if cached.path.exists():
        raise OSError(f"{cached.path} still exists")
