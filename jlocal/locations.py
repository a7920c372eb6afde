"""The folders of jlocal: for the user's data, and for a cache that can be deleted."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from jlocal.errors import OutputError


def home() -> Path:
    """Return the folder of models and collections: JLOCAL_HOME, or the platform's data folder.

    Raises:
        OutputError: JLOCAL_HOME names a file.

    """
    if chosen := _chosen("JLOCAL_HOME"):
        return chosen
    return _folder("user_data_path", "Application Support")


def cache_folder() -> Path:
    """Return the folder of the cache: JLOCAL_CACHE, or the platform's cache.

    Raises:
        OutputError: JLOCAL_CACHE names a file.

    """
    if chosen := _chosen("JLOCAL_CACHE"):
        return chosen
    return _folder("user_cache_path", "Caches")


def make_private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for their owner alone.

    `Path.mkdir` makes those above as the umask has it, which may be for everyone to write.

    Raises:
        OSError: one cannot be made.

    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)


def _chosen(variable: str) -> Path | None:
    value = os.environ.get(variable)
    if not value:
        return None
    folder = Path(value).expanduser()
    if folder.exists() and not folder.is_dir():
        raise OutputError(
            f"{variable} names a file, {folder}; name a folder, or unset it", path=folder
        )
    return folder


def _folder(kind: str, library: str) -> Path:
    import platformdirs

    folder: Path = getattr(platformdirs.PlatformDirs("jlocal", appauthor=False), kind)
    if sys.platform == "darwin" and not folder.exists():
        # Files stay where jlocal 0.1 put them, which knew no XDG variables on a Mac.
        former = Path.home() / "Library" / library / "jlocal"
        return former if former.exists() else folder
    return folder
