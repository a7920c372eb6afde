"""Where the tokens of a text lie in it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jlocal.llama.nfc import nfc
from jlocal.llama.tokenizer import Tokenizer

_Positions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Piece:
    """A token of a text.

    Attributes:
        token: its id.
        text: the part of the text that it stands for; of an added token, its name.
        special: whether the tokenizer has added it before or after the text.
        start: where it begins in the text, in characters; None if it is special, or if the
            tokenizer is not byte-level.
        stop: where it ends; tokens that share a character both contain it.

    """

    token: int
    text: str
    special: bool
    start: int | None = None
    stop: int | None = None


def locate(tokenizer: Tokenizer, text: str) -> list[Piece]:
    """Return the tokens of a text, special tokens included, with their places.

    Raises:
        UnicodeEncodeError: the text has lone surrogates.
        ModelError: llama.cpp cannot tokenise it.

    """
    tokens = tokenizer.encode(text).tolist()
    first, last = tokenizer.opening_tokens, len(tokens) - tokenizer.closing_tokens
    pieces = [tokenizer.piece(token) for token in tokens]
    spans = _spans(tokenizer, text, pieces[first:last])
    located = []
    for index, (token, piece) in enumerate(zip(tokens, pieces, strict=True)):
        special = not first <= index < last
        if special or spans is None:
            located.append(Piece(token, piece.decode("utf-8", "replace"), special))
        else:
            start, stop = spans[index - first]
            located.append(Piece(token, text[start:stop], False, start, stop))
    return located


def _spans(tokenizer: Tokenizer, text: str, pieces: list[bytes]) -> list[tuple[int, int]] | None:
    """Return the start and stop of each piece in the text; None where they cannot be known."""
    prepared = tokenizer.prepare(text)
    data = prepared.encode("utf-8")
    if not tokenizer.is_byte_level or b"".join(pieces) != data:
        return None
    starts, stops = _origins(tokenizer, text)
    if len(starts) != len(prepared):
        return None
    leading = (np.frombuffer(data, np.uint8) & 0xC0) != 0x80  # first bytes of characters
    character = np.cumsum(leading) - 1  # of each byte
    ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
    spans, begin = [], 0
    for end in ends.tolist():
        if end > begin:
            spans.append((int(starts[character[begin]]), int(stops[character[end - 1]])))
        else:
            spans.append((0, 0))
        begin = end
    return spans


def _origins(tokenizer: Tokenizer, text: str) -> tuple[_Positions, _Positions]:
    """Return from where to where in the text each character of the prepared text comes."""
    starts: list[_Positions] = []
    stops: list[_Positions] = []
    position = 0
    for part, prepared in tokenizer.prepared_parts(text):
        if part == prepared:
            places = np.arange(position, position + len(part))
            starts.append(places)
            stops.append(places + 1)
            position += len(part)
            continue
        for cluster in _clusters(part) if prepared else (part,):
            count = len(nfc(cluster)) if prepared else 0
            starts.append(np.full(count, position))
            position += len(cluster)
            stops.append(np.full(count, position))
    return np.concatenate(starts), np.concatenate(stops)


def _clusters(text: str) -> Iterator[str]:
    """Split a text where no character composes with the one before it."""
    start = 0
    for index in range(1, len(text)):
        character = text[index]
        if unicodedata.combining(character):
            continue
        if not character.isascii():
            before = text[start:index]
            if nfc(before + character) != nfc(before) + nfc(character):
                continue
        yield text[start:index]
        start = index
    if text:
        yield text[start:]
