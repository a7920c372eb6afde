"""Numbers with their units, for people."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Write a time, such as `0.4 s`, `40 s`, `12 min` or `1 h 20 min`."""
    if seconds < 0.95:
        return f"{max(seconds, 0.1):.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes and hours < 10 else f"{hours:,} h"


def rounded(count: float) -> str:
    """Write a large number with two digits that count, such as `3.1 M` or `420 k`."""
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if count >= unit:
            digits = 1 if count < 9.95 * unit else 0
            return f"{count / unit:.{digits}f}{name}"
    return f"{count:.0f}"


def counted(count: int, noun: str, plural: str = "") -> str:
    """Write a number and its noun."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"
