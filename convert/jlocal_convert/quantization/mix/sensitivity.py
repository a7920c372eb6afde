"""Quantisation sensitivity: the loss of each tensor type in each matrix, measured in vectors.

The loss of a type in a matrix is the mean of 1 - cosine between a text's vectors before and after
only this matrix gets the type. It is measured for one type, and scaled to other types by their
error in the weights, weighted by the columns' importance: small losses are proportional to it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from math import prod

import numpy as np

from jlocal.errors import ArgumentError
from jlocal.gguf.header import shown
from jlocal.gguf.imatrix import ImportanceMatrix
from jlocal.gguf.types import TENSOR_TYPES
from jlocal.llama.fake_quantizer import FakeQuantizer
from jlocal.llama.quantize import EMBEDDING, NOT_FOR_LOOKUP, OUTPUT, WEIGHTED
from jlocal.llama.tokenizer import Tokens
from jlocal.vectors import Doubles, Floats
from jlocal_convert.quantization.mix.assignment import Choice, Choices

# Types to choose from, for rows of whole super-blocks and for other rows. Omitted types are larger
# than another type of the same loss, or so small that they ruin a model.
_SUPER = (
    *("F16", "Q8_0", "Q6_K", "Q5_K", "Q4_K", "IQ4_XS", "Q3_K", "IQ3_S", "IQ3_XXS"),
    *("Q2_K", "IQ2_S", "IQ2_XS", "IQ2_XXS"),
)
_PLAIN = ("F16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "IQ4_NL", "Q4_0")
_SUPER_BLOCK = 256

# Types that are measured: their losses exceed rounding, and are still small enough to scale.
_PROBES = ("Q3_K", "Q4_0", "F16")

# Weights of a matrix that are sampled for a type's error; the slowest type takes a second.
_SAMPLE = 1 << 20

# Multiply-adds of a search: ten minutes on two cores. With fewer tokens, the losses of two matrices
# could not be distinguished.
_WORK, _FEWEST_TOKENS = 1e14, 1024

# The alignment of tensors in a file, in bytes.
_ALIGNMENT = 32

Columns = Floats
Offers = Mapping[str, Mapping[str, int]]
OnMatrix = Callable[[int, int], None]


def check_tensor_types(tensor_types: Sequence[str]) -> tuple[str, ...]:
    """Return names of tensor types in upper case.

    Raises:
        ArgumentError: a matrix cannot have a type of this name.

    """
    possible = [tensor_type for tensor_type in TENSOR_TYPES if tensor_type not in ("F32", "BF16")]
    requested = tuple(dict.fromkeys(tensor_type.upper() for tensor_type in tensor_types))
    for tensor_type in requested:
        if tensor_type not in possible:
            raise ArgumentError(
                f"{shown(tensor_type)} is not a type that a matrix can have; choose from "
                f"{', '.join(possible)}",
                argument="tensor_types",
            )
    return requested


def column_importance(matrix: ImportanceMatrix) -> dict[str, Columns]:
    """Return the mean square of each column's inputs, by name of the matrix.

    Matrices without inputs or with experts are omitted.
    """
    return {
        name: (entry.squares[0] / entry.counts[0]).astype(np.float32)
        for name, entry in matrix.entries.items()
        if len(entry.counts) == 1 and entry.counts[0]
    }


def tensor_bytes(tensor_type: str, shape: Sequence[int]) -> int:
    """Return the size of a tensor in a file, in bytes, with the padding after it."""
    return -(-TENSOR_TYPES[tensor_type].nbytes(shape) // _ALIGNMENT) * _ALIGNMENT


def token_budget(shapes: Mapping[str, tuple[int, int]]) -> int:
    """Return the number of tokens that a search computes for each of these matrices."""
    weights = sum(prod(shape) for name, shape in shapes.items() if name != EMBEDDING)
    return max(_FEWEST_TOKENS, int(_WORK / max(1, weights) / max(1, len(shapes))))


def offers(
    shapes: Mapping[str, tuple[int, int]],
    stored: Mapping[str, str],
    weighted: Collection[str],
    tensor_types: Sequence[str] = (),
) -> Offers:
    """Return the types that each matrix may get, with their sizes in bytes.

    Args:
        shapes: (rows, columns) by name.
        stored: the type of each matrix in the source file, which loses nothing; larger types are
            not considered.
        weighted: matrices with a known importance of their columns.
        tensor_types: types to choose from; if empty, `_SUPER` or `_PLAIN`.

    Returns:
        Sizes by type, by name of the matrix; a matrix's own type where no other is possible.

    """
    offered = {}
    for name, shape in shapes.items():
        own = stored[name]
        size = tensor_bytes(own, shape)
        sizes = {
            tensor_type: tensor_bytes(tensor_type, shape)
            for tensor_type in _possible(name, shape[1], name in weighted, tensor_types)
            if tensor_type != own and tensor_bytes(tensor_type, shape) < size
        }
        offered[name] = (
            sizes if tensor_types and own not in tensor_types and sizes else {own: size, **sizes}
        )
    return offered


def measure(
    quantizer: FakeQuantizer,
    sequences: Sequence[Tokens],
    importance: Mapping[str, Columns],
    stored: Mapping[str, str],
    offered: Offers,
    progress: OnMatrix | None = None,
) -> Choices:
    """Measure the loss of each matrix with each type that it may get.

    Args:
        quantizer: the loaded model.
        sequences: texts as token ids, none empty.
        importance: as `column_importance` returns it.
        stored: as in `offers`.
        offered: as `offers` returns it.
        progress: called with (matrices done, matrices in all).

    Raises:
        ModelError: weights cannot be quantised, or vectors are not finite.

    """
    before = quantizer.vectors(sequences)
    choices: dict[str, list[Choice]] = {}
    for done, (name, sizes) in enumerate(offered.items(), start=1):
        columns, own = importance.get(name), stored[name]
        part = -(-prod(quantizer.shapes[name]) // _SAMPLE)
        rate = 0.0
        if sizes.keys() - {own}:
            rate = _loss_by_error(quantizer, name, columns, sequences, before)
        choices[name] = [
            Choice(
                tensor_type,
                size,
                0.0
                if tensor_type == own
                else rate * quantizer.error(name, tensor_type, columns, part=part),
            )
            for tensor_type, size in sizes.items()
        ]
        if progress:
            progress(done, len(offered))
    return choices


def _possible(name: str, columns: int, weighted: bool, tensor_types: Sequence[str]) -> list[str]:
    if not tensor_types:
        tensor_types = _PLAIN if columns % _SUPER_BLOCK else _SUPER
    refused: frozenset[str] = frozenset()
    if not weighted:
        refused = NOT_FOR_LOOKUP if name in (EMBEDDING, OUTPUT) else WEIGHTED
    return [
        tensor_type
        for tensor_type in tensor_types
        if columns % TENSOR_TYPES[tensor_type].block_size == 0 and tensor_type not in refused
    ]


def _loss_by_error(
    quantizer: FakeQuantizer,
    name: str,
    columns: Columns | None,
    sequences: Sequence[Tokens],
    before: Doubles,
) -> float:
    """Return the loss per unit of a matrix's weighted error, measured for one type."""
    width = quantizer.shapes[name][1]
    probe = next(
        tensor_type for tensor_type in _PROBES if width % TENSOR_TYPES[tensor_type].block_size == 0
    )
    with quantizer.applied(name, probe, columns) as error:
        loss = half_squares(quantizer.vectors(sequences), before).mean()
    return float(loss / error) if error else 0.0


def half_squares(a: Doubles, b: Doubles) -> Doubles:
    """Return 1 - cosine of the unit vectors in the same rows, without cancellation."""
    halves: Doubles = np.square(a - b).sum(axis=1) / 2
    return halves
