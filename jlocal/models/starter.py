"""The starter model: a small English model that comes with jlocal and needs no download."""

from __future__ import annotations

from pathlib import Path

from jlocal.models.registry import Installed

NAME = "starter"
FILE = Path(__file__).with_name("jlocal-starter-retrieval-Q8_0.gguf")


def is_starter(name: str) -> bool:
    """Return whether a name is the starter model's."""
    return name.casefold() in (NAME, f"{NAME}:q8_0")


def installed_starter() -> Installed:
    """Return the starter model as an installed model."""
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
