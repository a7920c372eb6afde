"""llama_batch over numpy arrays, since filling it token by token from Python is slow."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from jlocal.llama.library import api
from jlocal.llama.tokenizer import Tokens


class Batch:
    """The C arrays of one `llama_decode` call, `capacity` tokens long."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._token = np.zeros(capacity, np.int32)
        self._position = np.zeros(capacity, np.int32)
        self._sequence = np.zeros(capacity, np.int32)
        self._output = np.zeros(capacity, np.int8)
        # Each token belongs to one sequence, and points to its own cell of `_sequence`.
        self._count = np.ones(capacity, np.int32)
        self._pointer = self._sequence.ctypes.data + 4 * np.arange(capacity, dtype=np.uintp)
        self.raw = api.llama_batch(
            n_tokens=0,
            token=_pointer(self._token, ctypes.c_int32),
            pos=_pointer(self._position, ctypes.c_int32),
            n_seq_id=_pointer(self._count, ctypes.c_int32),
            seq_id=_pointer(self._pointer, ctypes.POINTER(ctypes.c_int32)),
            logits=_pointer(self._output, ctypes.c_int8),
        )

    def fill(self, sequences: Sequence[Tokens], every_output: bool) -> Iterator[int]:
        """Concatenate sequences and load them in pieces of at most `capacity` tokens.

        Args:
            sequences: token ids; the number of a sequence is its position.
            every_output: mark each token as an output, or only the last of each sequence.

        Yields:
            The number of outputs in the loaded piece.

        """
        lengths = np.array([len(sequence) for sequence in sequences])
        ends = np.cumsum(lengths)
        total = int(ends[-1])
        tokens = np.concatenate(sequences)
        positions = np.arange(total) - np.repeat(ends - lengths, lengths)
        numbers = np.repeat(np.arange(len(sequences)), lengths)
        outputs = np.full(total, every_output, np.int8)
        outputs[ends - 1] = 1
        # Pieces of similar size: llama.cpp's flash attention sums in float16 when a piece has
        # fewer than 64 tokens, which costs a long text its third digit.
        step = -(-total // -(-total // self.capacity))
        for start in range(0, total, step):
            piece = slice(start, start + step)
            size = len(tokens[piece])
            self._token[:size] = tokens[piece]
            self._position[:size] = positions[piece]
            self._sequence[:size] = numbers[piece]
            self._output[:size] = outputs[piece]
            self.raw.n_tokens = size
            yield int(self._output[:size].sum())


def _pointer(array: npt.NDArray[Any], kind: Any) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(kind))
