"""Open a finished page in the user's browser."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
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
    if not _open(page.absolute().as_uri()):
        log(f"Note: no browser was found; open {page} in one.")


def open_url(url: str) -> None:
    """Open an address in a browser, or log that no browser was found; does not wait for either."""

    def run() -> None:
        if not _open(url):
            log(f"Note: no browser was found; open {url} in one.")

    # A browser in the terminal ends when its user ends it.
    threading.Thread(target=run, daemon=True).start()


def _open(url: str) -> bool:
    import webbrowser

    return webbrowser.open(url)
