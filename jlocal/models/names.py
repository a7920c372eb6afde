"""From what a user calls a model to a GGUF file on disk."""

from __future__ import annotations

import re
from pathlib import Path

from jlocal.errors import ModelError

_PUBLISHED = re.compile(
    r"(small|nano)(-[a-z-]+)?(:[\w-]+)?|jinaai/[\w.-]+(:[\w-]+)?", re.IGNORECASE
)


def resolve(model: str | Path) -> Path:
    """Find the file of a model.

    Args:
        model: path of a `.gguf` file.

    Raises:
        ModelError: there is no such file.

    """
    try:
        path = Path(model).expanduser()
        if path.is_dir():
            files = sorted(found.name for found in path.glob("*.gguf"))
            inside = f"name one of: {', '.join(files)}" if files else "it has no .gguf file"
            raise ModelError(f"{path} is a folder; {inside}")
        if path.exists():
            return path
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelError(f"cannot use {str(model)[:80]!r} as a model: {reason}") from error
    if _PUBLISHED.fullmatch(str(model)):
        raise ModelError(
            f"{model}: models are not downloaded by name yet; fetch its .gguf file from "
            "https://huggingface.co/jinaai, or make it with `jlocal convert`, and pass its path"
        )
    raise ModelError(f"no such file: {path}; pass the path of a .gguf file")
