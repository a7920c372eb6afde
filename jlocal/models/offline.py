"""The environment variables that forbid the use of the network."""

from __future__ import annotations

import os

VARIABLES = ("JLOCAL_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


def is_offline() -> bool:
    """Return whether a variable forbids the network, such as JLOCAL_OFFLINE=1."""
    return any(
        os.environ.get(name, "").strip().upper() in ("1", "ON", "YES", "TRUE") for name in VARIABLES
    )
