"""Paths relative to their common folder, and their grouping by top folder."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence

from jlocal.collection.location import is_id

_HERE = f".{os.sep}"


def below_common_folder(paths: Sequence[str]) -> list[str]:
    """Return paths relative to the deepest folder that contains them all.

    Ids of texts that were added without a file stay as they are.
    """
    folders = {os.path.dirname(path) for path in paths if not is_id(path)}  # noqa: PTH120
    try:
        common = os.path.commonpath(folders)
    except ValueError:  # on different drives, or none at all
        return list(paths)
    return [path.removeprefix(common).lstrip(os.sep) for path in paths]


def by_top_folder(paths: Sequence[str], most: int) -> tuple[list[str], list[int]]:
    """Group relative paths by their first folder.

    Args:
        paths: paths from `below_common_folder`.
        most: maximum number of groups, including one for all remaining folders.

    Returns:
        Names of the groups, the largest first, and for each path the index of its group.

    """
    tops = [_top(path) for path in paths]
    sizes = Counter(tops)
    ranked = sorted(sizes, key=lambda name: (-sizes[name], name))
    if len(ranked) > most:
        left = len(ranked) - (most - 1)
        ranked = [*ranked[: most - 1], f"{left:,} other folders"]
    numbers = {name: number for number, name in enumerate(ranked)}
    return ranked, [numbers.get(top, most - 1) for top in tops]


def _top(path: str) -> str:
    folder, separator, _ = path.partition(os.sep)
    return folder + separator if separator else _HERE
