"""Split texts as a collection's config says, and build the text to embed of each chunk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from jlocal.collection.chunking.chunks import Chunk, CountTokens, split, whole
from jlocal.collection.chunking.headings import Outline, embedded


@dataclass(frozen=True)
class Splitter:
    """Splits texts into passages.

    Attributes:
        limit: the most tokens in a chunk; None keeps each text whole.
        overlap: the most tokens of a chunk's end that the next chunk repeats.
        headings: whether the headings above a chunk are embedded with it.
        count: counts the tokens that the model sees for a text, its prompt included.

    """

    limit: int | None
    overlap: int
    headings: bool
    count: CountTokens

    def split(self, text: str, outline: Outline, line: int = 1) -> Iterator[Chunk]:
        """Yield the chunks of a text, except chunks of white space.

        Args:
            text: the text.
            outline: its headings and blocks.
            line: the number of its first line.

        Raises:
            TextError: a single character is above the limit.

        """
        chunks: Iterable[Chunk]
        if self.limit is None:
            chunks = (whole(text, line, outline),)
        else:
            chunks = split(
                text, self.limit, self.overlap, self.count, line, outline, headings=self.headings
            )
        return (chunk for chunk in chunks if chunk.text.strip())

    def embedded(self, chunk: Chunk) -> str:
        """Return the text to embed for a chunk."""
        return embedded(chunk.heading, chunk.text) if self.headings else chunk.text
