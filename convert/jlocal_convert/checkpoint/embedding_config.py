"""Prompts and Matryoshka dimensions, which GGUF has no keys for, as `jlocal.*` metadata."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jlocal.errors import CheckpointError
from jlocal_convert.checkpoint.folder import Checkpoint
from jlocal_convert.checkpoint.json_config import JsonConfig, read_json_config

# https://huggingface.co/jinaai/jina-embeddings-v5-text-small: config_sentence_transformers.json
_V5_PROMPTS = {"query": "Query: ", "document": "Document: "}
_V5_DEFAULT = "document"

_PROMPT_NAME = re.compile(r"[\w-]{1,64}", re.ASCII)
_MAX_PROMPT = 10_000
_MAX_PROMPTS = 100


@dataclass(frozen=True)
class EmbeddingConfig:
    """How texts are prefixed, and how vectors may be truncated.

    Attributes:
        prompts: prompt name to the prefix of a text.
        default_prompt: the name of the prompt that is used when none is named.
        dimensions: lengths to which a vector may be truncated, ascending.

    """

    prompts: Mapping[str, str]
    default_prompt: str | None
    dimensions: tuple[int, ...]

    def write_metadata(self, writer: Any) -> None:
        """Add the `jlocal.*` keys to a gguf.GGUFWriter."""
        import gguf

        for name, text in self.prompts.items():
            # add_string would omit an empty text, which states that there is no prefix.
            writer.add_key_value(f"jlocal.prompt.{name}", text, gguf.GGUFValueType.STRING)
        writer.add_string("jlocal.default_prompt", self.default_prompt)
        writer.add_key_value(
            "jlocal.matryoshka_dimensions",
            list(self.dimensions),
            gguf.GGUFValueType.ARRAY,
            sub_type=gguf.GGUFValueType.UINT32,
        )


def read_embedding_config(checkpoint: Checkpoint, hidden: int) -> EmbeddingConfig:
    """Read prompts and dimensions.

    Args:
        checkpoint: the checkpoint.
        hidden: length of the full vector.

    Raises:
        CheckpointError: config_sentence_transformers.json or config.json is malformed.

    """
    path = checkpoint.folder / "config_sentence_transformers.json"
    written = read_json_config(path) if path.exists() else JsonConfig(path, {})
    prompts = written.section("prompts").table
    default = written.get("default_prompt_name")
    if checkpoint.config.get("model_type") == "jina_embeddings_v5":
        prompts, default = prompts or _V5_PROMPTS, default or _V5_DEFAULT
    usable = len(prompts) <= _MAX_PROMPTS and all(
        _PROMPT_NAME.fullmatch(name) and isinstance(text, str) and len(text) <= _MAX_PROMPT
        for name, text in prompts.items()
    )
    if not usable:
        raise written.wrong("prompts", "an object of names and texts")
    if default is not None and default not in prompts:
        raise written.wrong("default_prompt_name", f"one of {', '.join(prompts) or 'no prompts'}")
    return EmbeddingConfig(prompts, default, _dimensions(checkpoint.config, hidden))


def _dimensions(config: JsonConfig, hidden: int) -> tuple[int, ...]:
    for key in ("matryoshka_dims", "matryoshka_dimensions"):
        sizes = config.get(key)
        if sizes is None:
            continue
        if not isinstance(sizes, list) or not sizes or len(sizes) > hidden:
            raise config.wrong(key, "a list of sizes")
        if not all(type(size) is int and 0 < size <= hidden for size in sizes):
            raise config.wrong(key, f"a list of sizes up to {hidden:,}")
        return tuple(sorted(set(sizes)))
    powers = (1 << exponent for exponent in range(5, 25))
    return tuple(sorted({size for size in (*powers, 768, hidden) if size <= hidden}))


def check_name(name: str) -> str:
    """Return a model's name if file names can begin with it.

    Raises:
        CheckpointError: file names cannot begin with it.

    """
    if not re.fullmatch(r"[\w+-][\w.+ -]{0,149}", name):
        raise CheckpointError(
            f"the name {name[:80]!r} cannot begin a file name; use letters, digits, '.', '-', '_'"
        )
    return name
