"""Warnings at the line of whoever called jlocal, however deep inside they come up."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import warnings
from pathlib import Path
from types import FrameType

# A `with` or a cached property of ours stands between the caller's line and ours.
_BETWEEN = frozenset({contextlib.__file__, functools.__file__})
_ROOT = Path(__file__).parents[1]
# The converter lies beside jlocal where it is installed, and under convert/ in a checkout.
_PACKAGES = ("jlocal", "jlocal_convert", "convert/jlocal_convert")
_OURS = tuple(str(_ROOT / package) + os.sep for package in _PACKAGES)


def warn(warning: Warning) -> None:
    """Issue a warning as `warnings.warn` does, at the nearest line outside of jlocal."""
    frame: FrameType | None = sys._getframe(1)
    outside = frame
    while outside and _is_ours(outside.f_code.co_filename):
        outside = outside.f_back
    # In a thread of ours there is nobody outside.
    place = outside or frame
    if place is not None:
        warnings.warn_explicit(
            warning,
            type(warning),
            place.f_code.co_filename,
            place.f_lineno,
            module=place.f_globals.get("__name__", "unknown"),
            registry=place.f_globals.setdefault("__warningregistry__", {}),
        )


def _is_ours(file: str) -> bool:
    return file in _BETWEEN or file.startswith(_OURS)
