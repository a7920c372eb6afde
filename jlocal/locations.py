"""Where jlocal keeps its files: data that the user would miss, and what can be made again."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def home() -> Path:
    """Return the folder of models and collections: JLOCAL_HOME, or the platform's data folder."""
    if chosen := os.environ.get("JLOCAL_HOME"):
        return Path(chosen).expanduser()
    return _folder("user_data_path", "Application Support")


def cache_folder() -> Path:
    """Return the folder for what can be made again: JLOCAL_CACHE, or the platform's cache."""
    if chosen := os.environ.get("JLOCAL_CACHE"):
        return Path(chosen).expanduser()
    return _folder("user_cache_path", "Caches")


def _folder(kind: str, library: str) -> Path:
    import platformdirs

    folder: Path = getattr(platformdirs.PlatformDirs("jlocal", appauthor=False), kind)
    if sys.platform == "darwin" and not folder.exists():
        # Files stay where jlocal 0.1 put them, which knew no XDG variables on a Mac.
        former = Path.home() / "Library" / library / "jlocal"
        return former if former.exists() else folder
    return folder
