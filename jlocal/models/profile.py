"""The properties of a model that embedding needs: from its header or, for published files, here."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar, cast

from jlocal.errors import ModelError
from jlocal.gguf.header import Header, LongArray, read_header, shown
from jlocal.models.catalogue import MATRYOSHKA, MODELS, PROMPTS, TASKS

POOLING = MappingProxyType({0: "none", 1: "mean", 2: "cls", 3: "last", 4: "rank"})

# https://huggingface.co/jinaai/jina-embeddings-v5-text-small: the published files carry neither
# prompts nor dimensions, and the small one's header names the 40,960 tokens of its base model.
_V5_NAME = re.compile(r"(?:^|jina-embeddings-)v5-(?:text-)?(?:small|nano)", re.IGNORECASE)
_V5_CONTEXT = {model.architecture: model.context for model in MODELS.values()}

# Texts for which llama.cpp's tokens differ from the model's own tokenizer, by the tokenizer's name
# in the header. llama.cpp keeps only the first letter of each Hangul syllable, drops the vowel
# signs of Indic scripts, and splits long words that WordPiece treats as unknown.
_TOKENIZER_MISMATCHES = MappingProxyType(
    {
        "bert": "llama.cpp tokenises Hangul, Indic scripts such as Devanagari, and words above 100 "
        "characters differently from this model's own tokenizer; vectors of these texts are wrong"
    }
)

# A header with a vocabulary takes tens of milliseconds to read, and many callers ask for it.
_MOST_KEPT = 32
# In nanoseconds. A file system keeps times in coarse steps, within which a file may change twice.
_SETTLED = 2_000_000_000

_T = TypeVar("_T")


@dataclass(frozen=True)
class Profile:
    """How a GGUF file embeds texts.

    Attributes:
        header: the header that the profile was read from.
        pooling: "last", "mean", "cls", or "none" when the header names no pooling.
        causal: whether a token attends only to the tokens before it.
        context: maximum number of tokens in a text, prompt and special tokens included.
        dimensions: length of the full vector.
        matryoshka: shorter lengths that the model was trained for, ascending; may be empty.
        prompts: the prefix of the text, by prompt name.
        default_prompt: name of the prompt that is used when none is requested, or None.
        normalizer: "NFC" or "none", applied to the text before the tokenizer.
        lstrip_tokens: added tokens that strip the white space before them.
        tokenizer_mismatch: a sentence that names the texts for which llama.cpp's tokens differ from
            the model's own tokenizer; None if no difference is known.

    """

    header: Header = field(repr=False)
    path: Path
    name: str
    architecture: str
    file_type: int | None
    pooling: str
    causal: bool
    context: int
    dimensions: int
    matryoshka: tuple[int, ...] = ()
    task: str | None = None
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str | None = None
    normalizer: str = "none"
    lstrip_tokens: tuple[str, ...] = ()
    license: str | None = None
    tokenizer_mismatch: str | None = None


def read_profile(path: str | Path) -> Profile:
    """Read the profile of a GGUF file; it is read again only if the file has changed.

    Raises:
        ModelError: the file is not a usable GGUF file, or lacks metadata that every model has.

    """
    path = Path(path)
    version = _version(path)
    return _read_version(path, version) if version else profile_of(read_header(path))


@lru_cache(_MOST_KEPT)
def _read_version(path: Path, version: tuple[int, ...]) -> Profile:
    del version  # a part of the cache's key
    return profile_of(read_header(path))


def _version(path: Path) -> tuple[int, ...] | None:
    """Return values that change with a file; None while a change might not show in them."""
    try:
        status = path.stat()
    except OSError:
        return None
    times = status.st_mtime_ns, status.st_ctime_ns
    if time.time_ns() - max(times) < _SETTLED:
        return None
    return status.st_dev, status.st_ino, status.st_size, *times


def profile_of(header: Header) -> Profile:
    """Return the profile of a file, from its header."""
    architecture = _require(header, "general.architecture", str)
    published = _is_v5(header, architecture)
    context = _require(header, f"{architecture}.context_length", int)
    dimensions = _require(header, f"{architecture}.embedding_length", int)
    if published:
        context = min(context, _V5_CONTEXT[architecture])
    pooling = _get(header, f"{architecture}.pooling_type", int, 0)
    default = _get(header, "jlocal.default_prompt", str, "")
    return Profile(
        header=header,
        path=header.path,
        name=_get(header, "general.name", str, "") or header.path.stem,
        architecture=architecture,
        file_type=_get(header, "general.file_type", int, None),
        pooling=POOLING.get(pooling, str(pooling)),
        causal=_get(header, f"{architecture}.attention.causal", bool, True),
        context=context,
        dimensions=_get(header, f"{architecture}.embedding_length_out", int, dimensions),
        matryoshka=_matryoshka(header, dimensions, published),
        task=_get(header, "jlocal.task", str, "") or (_task_in_name(header) if published else None),
        prompts=MappingProxyType(_prompts(header) or (PROMPTS if published else {})),
        default_prompt=default or ("document" if published else None),
        normalizer=_normalizer(header),
        lstrip_tokens=_lstrip_tokens(header, published and architecture == "eurobert"),
        license=_get(header, "general.license", str, "") or None,
        tokenizer_mismatch=_TOKENIZER_MISMATCHES.get(_get(header, "tokenizer.ggml.model", str, "")),
    )


def _get(header: Header, key: str, expected_type: type, default: _T) -> _T:
    value = header.metadata.get(key, default)
    if value is default:
        return default
    # In Python a bool is an int; in a header it is not.
    if not isinstance(value, expected_type) or (expected_type is int and isinstance(value, bool)):
        raise ModelError(
            f"{header.path} is not a usable GGUF file: {shown(key)} is {shown(value)}",
            path=header.path,
        )
    return cast(_T, value)


def _require(header: Header, key: str, expected_type: type[_T]) -> _T:
    value = _get(header, key, expected_type, None)
    if value is None or (isinstance(value, int) and not 0 < value < 1 << 31):
        raise ModelError(
            f"{header.path} is not a usable GGUF file: {shown(key)} is {shown(value)}",
            path=header.path,
        )
    return value


def _names(header: Header) -> tuple[str, ...]:
    name = _get(header, "general.name", str, "")
    return (re.sub(r"[\s_]+", "-", name), header.path.name)


def _is_v5(header: Header, architecture: str) -> bool:
    return architecture in _V5_CONTEXT and any(_V5_NAME.search(name) for name in _names(header))


def _task_in_name(header: Header) -> str | None:
    names = " ".join(_names(header)).lower()
    return next((task for task in TASKS if task in names), None)


def _matryoshka(header: Header, dimensions: int, published: bool) -> tuple[int, ...]:
    value = header.metadata.get("jlocal.matryoshka_dimensions")
    if value is None:
        default = MATRYOSHKA if published else ()
        return tuple(size for size in default if size <= dimensions)
    if not isinstance(value, tuple) or not all(
        isinstance(size, int) and 0 < size <= dimensions for size in value
    ):
        raise ModelError(
            f"{header.path} has unusable Matryoshka dimensions: {shown(value)}", path=header.path
        )
    return tuple(sorted(int(size) for size in value))


def _prompts(header: Header) -> dict[str, str]:
    prefix = "jlocal.prompt."
    return {
        key.removeprefix(prefix): _get(header, key, str, "")
        for key in header.metadata
        if key.startswith(prefix)
    }


def _normalizer(header: Header) -> str:
    # GGUF has no field for the normaliser. Every tokenizer that llama.cpp calls `qwen2` uses NFC.
    pre_tokenizer = _get(header, "tokenizer.ggml.pre", str, "")
    default = "NFC" if pre_tokenizer == "qwen2" else "none"
    normalizer = _get(header, "jlocal.unicode_normalizer", str, default)
    if normalizer not in ("NFC", "none"):
        raise ModelError(
            f"{header.path} asks for the unknown normaliser {shown(normalizer)}", path=header.path
        )
    return normalizer


def _lstrip_tokens(header: Header, published_nano: bool) -> tuple[str, ...]:
    value = header.metadata.get("jlocal.lstrip_tokens", ())
    if isinstance(value, LongArray) or not isinstance(value, tuple):
        raise ModelError(
            f"{header.path} is not a usable GGUF file: jlocal.lstrip_tokens", path=header.path
        )
    return tuple(str(token) for token in value) or (("<|mask|>",) if published_nano else ())
