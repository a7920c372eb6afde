"""`general.*` metadata: name, licence and languages, from the model card.

The rules are those of llama.cpp's converter, in gguf. Facts that the card does not state, such as
a licence, are omitted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jlocal.errors import CheckpointError
from jlocal_convert.checkpoint.json_config import read_bytes

_MAX_BYTES = 4 << 20


def write_metadata(writer: Any, folder: Path, name: str, parameters: int) -> None:
    """Add the `general.*` keys to a gguf.GGUFWriter.

    Args:
        writer: the writer.
        folder: the checkpoint's folder; its README.md may be missing.
        name: the model's name, with its task.
        parameters: number of weights, for the size label.

    Raises:
        CheckpointError: the model card's front matter is not YAML.

    """
    import gguf

    metadata = gguf.Metadata.apply_metadata_heuristic(
        gguf.Metadata(), _card(folder), {}, Path(name), parameters
    )
    metadata.name = metadata.name or name
    metadata.size_label = metadata.size_label or gguf.size_label(parameters, parameters, 0, 0)
    writer.add_type(gguf.GGUFType.MODEL)
    metadata.set_gguf_meta_model(writer)


def _card(folder: Path) -> dict[str, str | list[str]]:
    """Read the front matter; skip values that are neither texts nor lists of texts."""
    import yaml  # type: ignore[import-untyped]

    import gguf

    path = folder / "README.md"
    if not path.exists():
        return {}
    read_bytes(path, _MAX_BYTES)
    try:
        card = gguf.Metadata.load_model_card(folder)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{path} does not begin with valid YAML: {reason}; correct or remove it", path=path
        ) from error
    kept: dict[str, str | list[str]] = {}
    for key, value in card.items():
        if isinstance(value, str) and value:
            kept[key] = value
        elif isinstance(value, list):
            kept[key] = [item for item in value if isinstance(item, str)]
    return {key: value for key, value in kept.items() if value}
