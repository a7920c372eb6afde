"""A model file in words, for people and for JSON."""

from __future__ import annotations

from collections import Counter
from math import prod
from pathlib import Path

from jlocal.errors import ModelError
from jlocal.files import sha256_of
from jlocal.gguf.header import Header, LongArray
from jlocal.gguf.types import file_type_name, tensor_type_name
from jlocal.models.profile import profile_of
from jlocal.models.registry import at


def model_info(header: Header) -> dict[str, object]:
    """Name what a user of the model needs, as values that JSON can hold."""
    profile = profile_of(header)
    vocabulary = header.metadata.get("tokenizer.ggml.tokens")
    return {
        "name": profile.name,
        "file": str(profile.path),
        "bytes": header.file_size,
        "type": file_type_name(profile.file_type),
        "tensors": _tensor_types(header),
        "parameters": sum(prod(tensor.shape) for tensor in header.tensors),
        "architecture": profile.architecture,
        "task": profile.task,
        "dimensions": profile.dimensions,
        "matryoshka": list(profile.matryoshka),
        "context": profile.context,
        "pooling": profile.pooling,
        "causal": profile.causal,
        "prompts": dict(profile.prompts),
        "default prompt": profile.default_prompt,
        "normalizer": profile.normalizer,
        "tokenizer": profile.other_tokens,
        "vocabulary": vocabulary.length if isinstance(vocabulary, LongArray) else None,
        "license": profile.license,
        "source sha256": header.metadata.get("jlocal.source_sha256"),
    }


def origin(path: Path) -> dict[str, object]:
    """Say where a file is from and what it is, byte for byte: source, revision, license, sha256.

    Raises:
        ModelError: the file, or a record of the models on this machine, cannot be read.

    """
    known = at(path)
    try:
        facts: dict[str, object] = {"sha256": sha256_of(path)}
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}", path=path) from error
    if known:
        facts |= {"source": known.source, "revision": known.revision}
        facts |= {"license": known.license} if known.license else {}
    return facts


def metadata_of(header: Header) -> dict[str, object]:
    """All metadata of the header; long arrays by their length."""
    return {
        key: f"({value.length:,} values)" if isinstance(value, LongArray) else value
        for key, value in header.metadata.items()
    }


def _tensor_types(header: Header) -> dict[str, int]:
    names = (tensor_type_name(tensor.type) or f"type {tensor.type}" for tensor in header.tensors)
    return dict(Counter(names).most_common())
