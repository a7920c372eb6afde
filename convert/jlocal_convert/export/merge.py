"""Merging of an adapter's deltas into the backbone's weights, for one task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from jlocal.errors import CheckpointError
from jlocal_convert.checkpoint.backbones.backbone import Target
from jlocal_convert.checkpoint.folder import Checkpoint
from jlocal_convert.checkpoint.lora import Adapter, LowRank
from jlocal_convert.checkpoint.safetensors import StoredTensor, read_rows

# Small enough for a core's cache, large enough to outweigh the fixed costs of numpy and files.
_BLOCK_ELEMENTS = 1 << 20


@dataclass(frozen=True)
class MergedTensor:
    """A tensor of the GGUF file: the source and the delta of its values."""

    name: str
    shape: tuple[int, ...]
    source: StoredTensor
    delta: LowRank | None

    @property
    def size(self) -> int:
        """Number of weights."""
        return prod(self.shape)

    def rows(self, first: int, count: int, largest: float) -> npt.NDArray[np.float32]:
        """Compute rows in float32.

        Args:
            first: index of the first row.
            count: number of rows.
            largest: the greatest magnitude that the output can hold.

        Raises:
            CheckpointError: a value is not finite, or larger than `largest`.

        """
        rows = read_rows(self.source, first, count)
        if self.delta is not None:
            with np.errstate(all="ignore"):
                rows = rows + self.delta.rows(first, count)
        low, high = float(rows.min()), float(rows.max())
        # In this form NaN, whose comparisons are false, is refused too.
        if not (-largest <= low and high <= largest):
            raise CheckpointError(
                f"{self.source.path}: {self.source.name!r} has values from {low:g} to {high:g} "
                f"after merging, but the output holds only finite values up to {largest:g}"
            )
        return rows


@dataclass(frozen=True)
class Block:
    """Rows `first` to `first + count` of a tensor."""

    tensor: MergedTensor
    first: int
    count: int


def merge(
    checkpoint: Checkpoint, targets: Sequence[Target], adapter: Adapter | None
) -> list[MergedTensor]:
    """Pair every target with its source and its delta.

    Raises:
        CheckpointError: a delta has no target.

    """
    deltas = dict(adapter.deltas) if adapter else {}
    tensors = []
    for target in targets:
        delta = deltas.pop(target.source.removesuffix(".weight"), None)
        source = checkpoint.tensors[target.source]
        tensors.append(MergedTensor(target.name, target.shape, source, delta))
    if deltas:
        raise CheckpointError(
            f"{checkpoint.folder} has no matrix {min(deltas)}, which the adapter changes",
            path=checkpoint.folder,
        )
    return tensors


def blocks(tensors: Sequence[MergedTensor]) -> Iterator[Block]:
    """Split tensors into blocks of bounded size."""
    for tensor in tensors:
        rows, width = tensor.shape[0], prod(tensor.shape[1:])
        step = max(1, _BLOCK_ELEMENTS // width)
        for first in range(0, rows, step):
            yield Block(tensor, first, min(step, rows - first))
