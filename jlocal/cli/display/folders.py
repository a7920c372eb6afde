"""Report the changes of a collection's remembered folders."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from jlocal.progress import log

if TYPE_CHECKING:
    from jlocal.collection.index.folders import Folder
    from jlocal.collection.index.report import Report


def filter_options(folder: Folder) -> list[str]:
    """Return the filters of a folder as options of `jlocal index`."""
    return [
        *(f"--include {glob!r}" for glob in folder.include),
        *(f"--exclude {glob!r}" for glob in folder.exclude),
        *(["--no-gitignore"] if not folder.gitignore else []),
        *(["--all"] if folder.large else []),
        *([f"--encoding {folder.encoding}"] if folder.encoding else []),
    ]


def log_folders(before: Mapping[str, Folder], after: Mapping[str, Folder], report: Report) -> None:
    """Log the folders that are read with other options than before, or are forgotten."""
    for path, folder in after.items():
        if path in before and before[path] != folder:
            was = " ".join(filter_options(before[path])) or "without filters"
            now = " ".join(filter_options(folder)) or "without filters"
            log(f"  {path} is read {now} from now on; until now {was}.")
    for path, outer in report.absorbed.items():
        log(f"  {path} is not remembered by itself any more: it is a part of {outer}.")
    for name, outer in report.parts.items():
        if os.path.abspath(name) not in report.absorbed:  # noqa: PTH100
            log(f"  {name} is a part of {outer}, which is remembered already.")
    for path in report.forgotten:
        log(f"  {path} was deleted, and is not remembered any more.")
