"""Estimate the number of tokens of a text from samples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from jlocal.files import open_regular
from jlocal.inputs.encodings import byte_order_mark

# Files with more tokens are skipped in folders by default: about 1 MB of English prose, or 400 kB
# of a log. A slow computer needs a quarter of an hour for them with a model like small.
MOST_TOKENS = 250_000

_PIECE = 4096
_PIECES = 4

CountTokens = Callable[[str], int]


def tokens_of_file(path: Path, size: int, count: CountTokens) -> int:
    """Estimate the tokens of a text file.

    Args:
        path: the file.
        size: its bytes.
        count: counts the tokens that the model sees for a text.

    Raises:
        OSError: it cannot be read.

    """
    with open_regular(path) as file:
        _, encoding = byte_order_mark(file.read(4))
        pieces = []
        for start in _starts(size):
            file.seek(start)
            pieces.append(file.read(_PIECE))
    tokens = sum(count(piece.decode(encoding or "utf-8", "replace")) for piece in pieces)
    return round(tokens * size / max(1, sum(map(len, pieces))))


def tokens_of_text(text: str, count: CountTokens) -> int:
    """Estimate the tokens of a text."""
    pieces = [text[start : start + _PIECE] for start in _starts(len(text))]
    return round(sum(map(count, pieces)) * len(text) / max(1, sum(map(len, pieces))))


def _starts(size: int) -> list[int]:
    """Yield the starts of the samples, multiples of four as UTF-32 characters need."""
    if size <= _PIECES * _PIECE:
        return list(range(0, size, _PIECE))
    step = (size - _PIECE) // (_PIECES - 1)
    return [number * step & ~3 for number in range(_PIECES)]
