"""Helpers for tests of bundles: a valid bundle of a tiny model, and functions to write others."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from jlocal.bundle.standalone import END, MANIFEST, header, padding
from jlocal.cli import cli
from support.headers import SOUND, gguf, tensor

# A valid header, without weights that llama.cpp could load.
MODEL = gguf(SOUND, [tensor("t", (4,), 0)])
MEMBERS = {"LICENSE": b"free\n", "models/tiny.gguf": MODEL}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def manifest(content: dict[str, bytes] | None = None, /, **changes: Any) -> dict[str, Any]:
    """Return the manifest of these members; `changes` replace or remove (None) its keys."""
    content = MEMBERS if content is None else content
    value = {
        "format": "jlocal bundle",
        "version": 1,
        "members": [
            {"path": path, "size": len(data), "sha256": sha256(data)}
            for path, data in content.items()
        ],
        "models": [
            {"name": path[7:-5], "path": path} for path in content if path.startswith("models/")
        ],
        "program": None,
    }
    return {key: item for key, item in (value | changes).items() if item is not None}


def member(path: str, data: bytes, block: bytes | None = None) -> bytes:
    return (block or header(path, len(data))) + data + padding(len(data))


def pack(
    value: Any = None, members: dict[str, bytes] | None = None, *more: bytes, end: bytes = END
) -> bytes:
    """Write a bundle; `value` is its manifest, as it is if it is bytes."""
    members = MEMBERS if members is None else members
    value = manifest(members) if value is None else value
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    parts = [member(path, data) for path, data in members.items()]
    return b"".join([member(MANIFEST, text), *parts, *more, end])


def run(*arguments: object) -> Result:
    """Run `jlocal bundle`."""
    return CliRunner().invoke(cli, ["bundle", *map(str, arguments)])


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
