"""Rendering a picture as one self-contained web page that loads nothing."""

from __future__ import annotations

import json
from string import Template

import numpy as np

from jlocal.map.assets import colours, policy, read
from jlocal.map.picture import Picture

# Half the longer side of the picture, in the page's own unit.
_HALF = 10_000


def render(picture: Picture, title: str) -> bytes:
    """Return the page, UTF-8.

    Texts and paths are untrusted. The page holds them as JSON without a "<", in a data block that
    is not executed, and shows them only as text. The page's content security policy allows only
    the script with its hash, and forbids loading anything.
    """
    style = colours() + read("jlocal.map", "page.css")
    script = read("jlocal.map", "elements.js", "picture.js", "pointing.js", "page.js")
    page = Template(read("jlocal.map", "page.html")).substitute(
        policy=policy(script, style),
        style=style,
        data=json.dumps(_data(picture, title), separators=(",", ":")).replace("<", "\\u003c"),
        script=script,
    )
    return page.encode()


def coordinates(picture: Picture) -> tuple[list[int], list[int]]:
    """Return the points as whole numbers, at most 10,000 from the middle: all x, and all y."""
    low, high = picture.points.min(axis=0), picture.points.max(axis=0)
    # One scale for both axes: a narrow cloud stays narrow.
    scale = _HALF / (max(float((high - low).max()), 1e-12) / 2)
    locations = np.rint((picture.points - (low + high) / 2) * scale).astype(int)
    return locations[:, 0].tolist(), locations[:, 1].tolist()


def _data(picture: Picture, title: str) -> dict[str, object]:
    """Return a picture as JSON values: one list for each property of the points."""
    x, y = coordinates(picture)
    paths = sorted({passage.path for passage in picture.passages})
    numbers = {path: number for number, path in enumerate(paths)}
    passages = picture.passages
    return {
        "title": title,
        "layout": picture.layout,
        "total": picture.total,
        "characters": picture.characters,
        "cut": any(len(passage.text) > picture.characters for passage in picture.passages),
        "grouping": picture.grouping,
        "groups": picture.groups,
        "paths": paths,
        "x": x,
        "y": y,
        "group": picture.group_of,
        "path": [numbers[passage.path] for passage in passages],
        "where": [passage.where for passage in passages],
        "places": [passage.locations for passage in passages],
        "text": [passage.text for passage in passages],
    }
