"""English-looking texts of an exact number of tokens."""

from __future__ import annotations

import bisect
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jlocal import Embedder

LICENSE = Path(__file__).resolve().parent.parent / "LICENSE"


@dataclass(frozen=True)
class Workload:
    """A number of texts, and the number of tokens of each."""

    texts: int
    tokens: int

    @classmethod
    def parse(cls, text: str) -> Workload:
        """Read `32x64`."""
        texts, _, tokens = text.partition("x")
        return cls(int(texts), int(tokens))

    def __str__(self) -> str:
        return f"{self.texts} x {self.tokens}"

    @property
    def lengths(self) -> list[int]:
        """The tokens of each text."""
        return [self.tokens] * self.texts


def write_texts(model: Path, rounds: Sequence[Sequence[int]], folder: Path) -> list[Path]:
    """Write a JSON file of fresh texts for each round.

    Args:
        model: a GGUF file, for its tokenizer.
        rounds: for each round, the tokens of each text, special tokens included.
        folder: where to.

    """
    from jlocal import Embedder

    random = np.random.default_rng(len(rounds))
    words = LICENSE.read_text().split()
    paths = []
    with Embedder(model, threads=1, gpu_layers=0) as embedder:
        for number, lengths in enumerate(rounds):
            path = folder / f"texts-{number}.json"
            texts = [
                exact(embedder, [str(word) for word in random.choice(words, length)], length)
                for length in lengths
            ]
            path.write_text(json.dumps(texts))
            paths.append(path)
    return paths


def exact(embedder: Embedder, words: list[str], tokens: int) -> str:
    """Take words from the beginning, and fill up with a word that is one token."""

    def count(text: str) -> int:
        return len(embedder.tokenize(text))

    fitting = bisect.bisect_right(
        range(1, len(words) + 1), tokens, key=lambda number: count(" ".join(words[:number]))
    )
    text = " ".join(words[:fitting])
    text += " a" * (tokens - count(text))
    assert count(text) == tokens, f"{count(text)} tokens, not {tokens}"
    return text


def write_lines(target: Path, count: int) -> None:
    """Write `count` short lines, all of them different."""
    random = np.random.default_rng(count)
    words = np.array(LICENSE.read_text().split())
    with target.open("w") as file:
        for start in range(0, count, 10_000):
            chosen = random.choice(words, (min(10_000, count - start), 6))
            file.writelines(f"{start + i} {' '.join(row)}\n" for i, row in enumerate(chosen))


def read_lines(source: Path) -> Iterable[str]:
    """Read lines as they are needed."""
    with source.open() as file:
        for line in file:
            yield line.rstrip("\n")


def count_tokens(model: Path, source: Path) -> int:
    """Count the tokens of all lines of a file."""
    from jlocal import Embedder

    with Embedder(model, threads=1, gpu_layers=0) as embedder:
        return sum(len(embedder.tokenize(line)) for line in read_lines(source))
