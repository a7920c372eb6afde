"""Settings of the fuzzers: a few fixed inputs by default, N random ones with FUZZ_INPUTS=N."""

from __future__ import annotations

import os
import struct

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st


def fuzzer(inputs: int, deadline: int | None) -> settings:
    """Return the settings of a fuzzer; `deadline` is in milliseconds for each input."""
    return settings(
        max_examples=int(os.environ.get("FUZZ_INPUTS", inputs)),
        deadline=deadline,
        derandomize="FUZZ_INPUTS" not in os.environ,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def mutations(data: bytes) -> st.SearchStrategy[bytes]:
    """Change, remove, repeat and insert pieces."""
    position = st.integers(0, len(data))
    number = st.sampled_from([0, 1, 2, 0x7F, 0xFF, 0xFFFF, 1 << 31, (1 << 32) - 1, 1 << 63])
    piece = st.one_of(
        st.binary(max_size=16),
        number.map(lambda value: struct.pack("<Q", value)),
        number.map(lambda value: struct.pack("<I", value & 0xFFFFFFFF)),
    )
    edit = st.tuples(position, st.integers(0, 64), piece, st.booleans())

    def apply(edits: list[tuple[int, int, bytes, bool]]) -> bytes:
        changed = bytearray(data)
        for start, count, new, keep in edits:
            changed[start : start + (len(new) if keep else count)] = new
        return bytes(changed)

    return st.lists(edit, min_size=1, max_size=6).map(apply)
