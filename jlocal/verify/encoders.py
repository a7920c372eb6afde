"""What turns texts into vectors: a GGUF file, a checkpoint, or what one of them once gave."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from jlocal.errors import ArgumentError, VectorError
from jlocal.llama.tokenizer import Tokens
from jlocal.terms import Argument
from jlocal.vectors import Floats
from jlocal.verify.texts import Text

Ints = npt.NDArray[np.int64]
Digests = npt.NDArray[np.uint64]

_TEXTS = Argument("texts")


@dataclass(frozen=True)
class ModelInfo:
    """What is known of a model before it is loaded.

    Attributes:
        name: of the model.
        origin: where it lies, or which file keeps its vectors.
        kind: "gguf", "checkpoint" or "stored".
        weights: their type, such as "Q8_0" or "float32"; None where the file does not say.
        sha256: of a GGUF file; of a checkpoint's files as `sha256sum` prints them.
        source_sha256: that of the checkpoint that a GGUF file was made from, where it says so.
        task: whose adapter is in it, where that is known.
        dimensions: length of its full vectors.
        matryoshka: shorter lengths that it was trained for.
        prompts: prompt name to prefix; may be empty.

    """

    name: str
    origin: str
    kind: str
    weights: str | None
    sha256: str
    source_sha256: str | None
    task: str | None
    dimensions: int
    matryoshka: Sequence[int]
    prompts: Mapping[str, str]


@dataclass(frozen=True)
class Encoded:
    """Vectors of texts.

    Attributes:
        vectors: prompt name to unit vectors, (n, d) float32.
        tokens: prompt name to tokens of each text, (n,), prompt and special tokens included.
        digests: prompt name to a digest of each text's token ids, (n,).
        kept: which of the texts fit into the context, ascending; the vectors are of these.
        too_long: tokens of each of the others, by position.
        limit: the most tokens in one text.
        computed: the type that matrices were multiplied in, or "stored" for that of the file.

    """

    vectors: Mapping[str, Floats]
    tokens: Mapping[str, Ints]
    digests: Mapping[str, Digests]
    kept: Ints
    too_long: Mapping[int, int]
    limit: int
    computed: str

    def select(self, rows: Ints) -> Encoded:
        """Keep some of the texts, by their positions among those that are kept now."""
        return replace(
            self,
            vectors={name: vectors[rows] for name, vectors in self.vectors.items()},
            tokens={name: tokens[rows] for name, tokens in self.tokens.items()},
            digests={name: digests[rows] for name, digests in self.digests.items()},
            kept=self.kept[rows],
        )


class Encoder(Protocol):
    """A model that was found, and is loaded when it has something to do."""

    @property
    def info(self) -> ModelInfo:
        """What is known of it."""

    @property
    def texts(self) -> Sequence[Text] | None:
        """The only texts that it can encode; None for any."""

    def encode(
        self, texts: Sequence[Text], prompts: Mapping[str, str], *, show_progress: bool
    ) -> Encoded:
        """Encode each text with each prompt, and free the model.

        Raises:
            JlocalError: it cannot be loaded, or a text cannot be encoded.

        """


def encode_with(
    model: ModelInfo,
    texts: Sequence[Text],
    prompts: Mapping[str, str],
    *,
    limit: int,
    computed: str,
    tokenize: Callable[[str, str], Tokens],
    embed: Callable[[list[str], str], Floats],
) -> Encoded:
    """Encode what fits into the context.

    Args:
        model: which it is.
        texts: any.
        prompts: prompt name to prefix.
        limit: the most tokens in one text.
        computed: as in `Encoded`.
        tokenize: gives the token ids of a text with a prefix.
        embed: gives the vectors (n, d) of texts with a prefix.

    Raises:
        ArgumentError: no text fits, or one has no token.
        VectorError: a vector has no direction.

    """
    tokens = {
        name: [tokenize(text.text, prefix) for text in texts] for name, prefix in prompts.items()
    }
    lengths = {name: np.array([*map(len, rows)], np.int64) for name, rows in tokens.items()}
    for name, rows in lengths.items():
        if len(empty := np.flatnonzero(rows == 0)):
            raise ArgumentError(
                f"{model.origin} makes no token of the text {_short(texts, empty)} with the prompt "
                f"{prompts[name]!r}; leave it out"
            )
    longest = np.max([*lengths.values()], axis=0)
    kept = np.flatnonzero(longest <= limit)
    if not len(kept):
        raise ArgumentError(
            f"none of {len(texts):,} texts fits into the {limit:,} tokens of {model.origin}; give "
            f"others with {_TEXTS}",
            _TEXTS,
        )
    chosen = [texts[int(row)] for row in kept]
    strings = [text.text for text in chosen]
    vectors = {name: embed(strings, prefix) for name, prefix in prompts.items()}
    check_vectors(vectors, chosen, model.origin)
    return Encoded(
        vectors,
        {name: rows[kept] for name, rows in lengths.items()},
        {name: _digests([rows[row] for row in kept]) for name, rows in tokens.items()},
        kept,
        {int(row): int(longest[row]) for row in np.flatnonzero(longest > limit)},
        limit,
        computed,
    )


def check_vectors(vectors: Mapping[str, Floats], texts: Sequence[Text], name: str) -> None:
    """See that vectors have a direction.

    Raises:
        VectorError: one does not; the message names its text.

    """
    for prompt, rows in vectors.items():
        lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
        wrong = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))
        if len(wrong):
            raise VectorError(
                f"{name} has no usable vector (zero, or not a number) for {len(wrong):,} of "
                f"{len(rows):,} texts with the prompt {prompt!r}, first {_short(texts, wrong)}"
            )


def _digests(tokens: Sequence[Tokens]) -> Digests:
    """Tell token ids from others by numbers of 64 bits, (n,)."""
    hashes = (hashlib.sha256(ids.astype("<i4").tobytes()).digest() for ids in tokens)
    return np.array([int.from_bytes(found[:8], "little") for found in hashes], np.uint64)


def _short(texts: Sequence[Text], rows: Ints) -> str:
    """Show the beginning of the first of some texts."""
    return ascii(texts[int(rows[0])].text[:40])
