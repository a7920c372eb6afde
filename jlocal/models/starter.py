"""The model that comes with jlocal: small, English, for a first minute without any download."""

from __future__ import annotations

from pathlib import Path

from jlocal.models.registry import Installed

NAME = "starter"
FILE = Path(__file__).with_name("jlocal-starter-retrieval-Q8_0.gguf")


def is_meant(name: str) -> bool:
    """Say whether a name means this model."""
    return name.casefold() in (NAME, f"{NAME}:q8_0")


def built_in() -> Installed:
    """Describe it as the models beside it are described."""
    return Installed(
        name=NAME,
        path=FILE,
        size=FILE.stat().st_size,
        sha256=None,
        source="jlocal",
        license="apache-2.0",
        task="retrieval",
        type="Q8_0",
    )
