"""The interface of encoders: a GGUF file, a checkpoint, or the stored vectors of one."""

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
    """The properties of a model that are known before it is loaded.

    Attributes:
        name: name of the model.
        origin: path of the model, or of the file with its stored vectors.
        kind: "gguf", "checkpoint" or "stored".
        weights: type of the weights, such as "Q8_0" or "float32"; None if the file lacks it.
        sha256: SHA-256 of a GGUF file, or of what `sha256sum` prints for a checkpoint's files.
        source_sha256: SHA-256 of the checkpoint that a GGUF file was converted from; None if the
            file lacks it.
        task: task of its adapter; None if unknown.
        dimensions: length of the full vectors.
        matryoshka: shorter lengths that the model was trained for.
        prompts: the prefix of each prompt, by name; may be empty.

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
        kept: ascending indices of the texts that fit into the context, which have vectors.
        too_long: number of tokens of each longer text, by its index.
        limit: maximum number of tokens in a text.
        computed: the type that matrices were multiplied in, or "stored" for the file's type.

    """

    vectors: Mapping[str, Floats]
    tokens: Mapping[str, Ints]
    digests: Mapping[str, Digests]
    kept: Ints
    too_long: Mapping[int, int]
    limit: int
    computed: str

    def select(self, rows: Ints) -> Encoded:
        """Select texts by their positions in `kept`."""
        return replace(
            self,
            vectors={name: vectors[rows] for name, vectors in self.vectors.items()},
            tokens={name: tokens[rows] for name, tokens in self.tokens.items()},
            digests={name: digests[rows] for name, digests in self.digests.items()},
            kept=self.kept[rows],
        )


class Encoder(Protocol):
    """A model that is loaded only to encode."""

    @property
    def info(self) -> ModelInfo:
        """The properties of the model."""

    @property
    def texts(self) -> Sequence[Text] | None:
        """The only texts that it can encode; None for any."""

    def encode(
        self, texts: Sequence[Text], prompts: Mapping[str, str], *, show_progress: bool
    ) -> Encoded:
        """Encode each text with each prompt, and free the model.

        Raises:
            JlocalError: the model cannot be loaded, or a text cannot be encoded.

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
    """Encode the texts that fit into the context.

    Args:
        model: the model's properties, for messages.
        texts: the texts.
        prompts: the prefix of each prompt, by name.
        limit: maximum number of tokens in a text.
        computed: see `Encoded`.
        tokenize: returns the token ids of a text with a prefix.
        embed: returns the vectors (n, d) of texts with a prefix.

    Raises:
        ArgumentError: no text fits, or a text has no token.
        VectorError: a vector is zero or not finite.

    """
    tokens = {
        name: [tokenize(text.text, prefix) for text in texts] for name, prefix in prompts.items()
    }
    lengths = {name: np.array([*map(len, rows)], np.int64) for name, rows in tokens.items()}
    for name, rows in lengths.items():
        if len(empty := np.flatnonzero(rows == 0)):
            raise ArgumentError(
                f"{model.origin} makes no token of the text {_excerpt(texts, empty)} with the "
                f"prompt {prompts[name]!r}; leave it out",
                argument="texts",
            )
    longest = np.max([*lengths.values()], axis=0)
    kept = np.flatnonzero(longest <= limit)
    if not len(kept):
        raise ArgumentError(
            f"none of {len(texts):,} texts fits into the {limit:,} tokens of {model.origin}; give "
            f"others with {_TEXTS}",
            _TEXTS,
            argument="texts",
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
    """Check that vectors are finite and not zero.

    Raises:
        VectorError: a vector is zero or not finite; the message names its text.

    """
    for prompt, rows in vectors.items():
        lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
        wrong = np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))
        if len(wrong):
            raise VectorError(
                f"{name} has no usable vector (zero, or not a number) for {len(wrong):,} of "
                f"{len(rows):,} texts with the prompt {prompt!r}, first {_excerpt(texts, wrong)}"
            )


def _digests(tokens: Sequence[Tokens]) -> Digests:
    """Return a 64-bit digest of each text's token ids, (n,)."""
    hashes = (hashlib.sha256(ids.astype("<i4").tobytes()).digest() for ids in tokens)
    return np.array([int.from_bytes(found[:8], "little") for found in hashes], np.uint64)


def _excerpt(texts: Sequence[Text], rows: Ints) -> str:
    """Return the beginning of the first of these texts, for a message."""
    return ascii(texts[int(rows[0])].text[:40])
