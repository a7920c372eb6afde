"""Whether the network may be used at all."""

from __future__ import annotations

import os

VARIABLES = ("JLOCAL_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


def is_offline() -> bool:
    """Say whether the environment forbids the network: JLOCAL_OFFLINE=1 or HF_HUB_OFFLINE=1."""
    return any(
        os.environ.get(name, "").strip().upper() in ("1", "ON", "YES", "TRUE") for name in VARIABLES
    )
