"""Token ids of the training texts, in batches of similar length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

PROMPTS = ("Query: ", "Document: ")
CHUNK = 16_384
MOST_TOKENS = 384


@dataclass(frozen=True)
class Ids:
    """Ids of many texts in one array; text i is flat[starts[i]:starts[i + 1]].

    Every text begins with the document prompt, whose first token `as_query` replaces.
    """

    flat: NDArray[np.int32]
    starts: NDArray[np.int64]
    query: int

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each text."""
        return np.diff(self.starts)

    def text(self, i: int) -> NDArray[np.int32]:
        """Ids of one text."""
        return self.flat[self.starts[i] : self.starts[i + 1]]

    def followed_by(self, other: Ids) -> Ids:
        """Return these texts, then the others."""
        starts = np.concatenate([self.starts, self.starts[-1] + other.starts[1:]])
        return Ids(np.concatenate([self.flat, other.flat]), starts, self.query)

    def select(self, chosen: NDArray[np.int64]) -> Ids:
        """Return some of the texts."""
        sizes = self.lengths[chosen]
        flat = np.concatenate([np.empty(0, np.int32), *(self.text(int(i)) for i in chosen)])
        return Ids(flat, np.concatenate([[0], np.cumsum(sizes)]), self.query)

    def pad(
        self, chosen: NDArray[np.int64], queries: NDArray[np.bool_], width: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Right-padded ids (batch, tokens), and where each text ends (batch,).

        Where `queries` is true the text gets the query prompt. There are at least `width` columns.
        """
        lengths = self.lengths[chosen]
        tokens = np.zeros((len(chosen), max(width, padded(int(lengths.max())))), np.int64)
        for row, i in enumerate(chosen):
            tokens[row, : lengths[row]] = self.text(i)
        tokens[queries, 0] = self.query
        return torch.from_numpy(tokens), torch.from_numpy(lengths - 1)


def encode(tokenizer: Tokenizer, texts: list[str], most: int = MOST_TOKENS) -> Ids:
    """Tokenize texts with the document prompt; each keeps at most `most` tokens."""
    query = tokenizer.encode(PROMPTS[0]).ids[0]
    end = tokenizer.encode("").ids[-1]
    parts, sizes = [], [0]
    for first in range(0, len(texts), 50_000):
        block = [PROMPTS[1] + text for text in texts[first : first + 50_000]]
        for encoding in tokenizer.encode_batch(block):
            ids = encoding.ids
            if len(ids) > most:
                ids = [*ids[: most - 1], end]
            parts.append(np.array(ids, np.int32))
            sizes.append(len(ids))
    return Ids(np.concatenate(parts), np.cumsum(sizes), query)


def batches(
    lengths: NDArray[np.int64], budget: int, random: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """One pass over the texts: full batches of `budget` padded tokens, in random order.

    Texts of similar length come from a random chunk, so that no two passes have the same batches.
    The rest of a chunk is left to another pass: a batch of an unusual shape would cost more,
    because each shape is compiled once.
    """
    order = random.permutation(len(lengths))
    found = []
    for first in range(0, len(order), CHUNK):
        chunk = order[first : first + CHUNK]
        chunk = chunk[np.argsort(-lengths[chunk], kind="stable")]
        while len(chunk):
            rows = budget // padded(int(lengths[chunk[0]]))
            if len(chunk) >= rows:
                found.append(chunk[:rows])
            chunk = chunk[rows:]
    for number in random.permutation(len(found)):
        yield found[number]


def padded(length: int) -> int:
    """Round a width up to one of a few widths."""
    step = 4 if length <= 64 else 16
    return -(-length // step) * step
