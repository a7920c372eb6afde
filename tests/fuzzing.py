"""How the fuzzers run: a few fixed inputs by default, FUZZ_INPUTS=N others on request."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings


def fuzzer(inputs: int, deadline: int | None) -> settings:
    """Return the settings of a fuzzer; `deadline` is in milliseconds for each input."""
    return settings(
        max_examples=int(os.environ.get("FUZZ_INPUTS", inputs)),
        deadline=deadline,
        derandomize="FUZZ_INPUTS" not in os.environ,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
