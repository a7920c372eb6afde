"""Open a finished page in the user's browser."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

from jlocal.errors import OutputError
from jlocal.filenames import native, portable
from jlocal.files import unwritable
from jlocal.progress import log


def cached_page(database: Path) -> Path:
    """Return the default path of a collection's map, in a folder that only its owner can read.

    Raises:
        OutputError: the folder cannot be made.

    """
    from jlocal.collection.names import name_of
    from jlocal.locations import cache_folder, make_private

    name = name_of(database)
    if name is None:
        digest = hashlib.sha256(os.fsencode(database.absolute())).hexdigest()[:8]
        name = f"{portable(database.stem)}-{digest}"
    folder = cache_folder() / "maps"
    try:
        make_private(folder)
    except OSError as error:
        reason = unwritable(error, "let JLOCAL_CACHE name a folder that can be written")
        raise OutputError(f"cannot make {folder}: {reason}") from error
    return folder / native(f"{name}.html")


def has_desktop() -> bool:
    """Tell whether the user sits at a desktop's terminal and would see a new window."""
    if not sys.stdout.isatty():
        return False
    if os.environ.get("BROWSER"):
        return True
    if sys.platform in ("win32", "darwin"):
        return "SSH_CONNECTION" not in os.environ
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def open_page(page: Path) -> None:
    """Open a page in a browser, or log that no browser was found."""
    import webbrowser

    if not webbrowser.open(page.absolute().as_uri()):
        log(f"Note: no browser was found; open {page} in one.")
