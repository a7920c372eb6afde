"""A summary of a model file, for people and as JSON."""

from __future__ import annotations

from collections import Counter
from math import prod
from pathlib import Path

from jlocal.errors import ModelError
from jlocal.files import sha256_of
from jlocal.gguf.header import Header, LongArray
from jlocal.gguf.types import file_type_name, tensor_type_name
from jlocal.models.profile import profile_of
from jlocal.models.registry import find_by_path


def model_info(header: Header) -> dict[str, object]:
    """Return the facts about a model that users need, as JSON values."""
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
        "tokenizer": profile.tokenizer_mismatch,
        "vocabulary": vocabulary.length if isinstance(vocabulary, LongArray) else None,
        "license": profile.license,
        "source sha256": header.metadata.get("jlocal.source_sha256"),
    }


def provenance(path: Path) -> dict[str, object]:
    """Return where a file comes from, and its SHA-256: source, revision, license, sha256.

    Raises:
        ModelError: the file, or the record of a model on this machine, cannot be read.

    """
    known = find_by_path(path)
    try:
        facts: dict[str, object] = {"sha256": sha256_of(path)}
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}", path=path) from error
    if known:
        facts |= {"source": known.source, "revision": known.revision}
        facts |= {"license": known.license} if known.license else {}
    return facts


def metadata_of(header: Header) -> dict[str, object]:
    """Return the metadata of the header, with the length in place of each long array."""
    return {
        key: f"({value.length:,} values)" if isinstance(value, LongArray) else value
        for key, value in header.metadata.items()
    }


def _tensor_types(header: Header) -> dict[str, int]:
    names = (tensor_type_name(tensor.type) or f"type {tensor.type}" for tensor in header.tensors)
    return dict(Counter(names).most_common())
