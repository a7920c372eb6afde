"""Issuing warnings at the line of jlocal's caller, at any depth of the call stack."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import warnings
from pathlib import Path
from types import FrameType

# Frames of `with` and of cached properties are between the caller's line and jlocal's.
_BETWEEN = frozenset({contextlib.__file__, functools.__file__})
_ROOT = Path(__file__).parents[1]
# The converter is beside jlocal when installed, and in convert/ in a checkout.
_PACKAGES = ("jlocal", "jlocal_convert", "convert/jlocal_convert")
_OURS = tuple(str(_ROOT / package) + os.sep for package in _PACKAGES)


def warn(warning: Warning) -> None:
    """Issue a warning as `warnings.warn` does, at the nearest line outside of jlocal."""
    frame: FrameType | None = sys._getframe(1)
    outside = frame
    while outside and _is_ours(outside.f_code.co_filename):
        outside = outside.f_back
    # In a thread of jlocal, all frames are inside.
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
