"""What the runtime must know of a model, from its header and, for published files, from here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
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

# By the tokenizer's name in the header: where llama.cpp gives other tokens than the model's own
# tokenizer. Of Hangul it keeps the first letter of each syllable, of Indic scripts it drops the
# vowel signs, and it takes words apart that WordPiece takes for unknown.
_OTHER_TOKENS = MappingProxyType(
    {
        "bert": "llama.cpp tokenises Hangul, Indic scripts such as Devanagari, and words above 100 "
        "characters otherwise than this model's own tokenizer; vectors of such texts are wrong"
    }
)

_T = TypeVar("_T")


@dataclass(frozen=True)
class Profile:
    """How texts become vectors with one GGUF file.

    Attributes:
        header: what it was read from.
        pooling: "last", "mean", "cls", or "none" when the header names no pooling.
        causal: whether a token attends only to the tokens before it.
        context: the most tokens in one text, prompt and special tokens included.
        dimensions: length of the full vector.
        matryoshka: shorter lengths that the model was trained for, ascending; may be empty.
        prompts: prompt name to the prefix that is put before the text.
        default_prompt: the name of the prompt when none is asked for, or None.
        normalizer: "NFC" or "none", applied to the text before the tokenizer.
        lstrip_tokens: added tokens that swallow the white space before them.
        other_tokens: of which texts llama.cpp gives other tokens than the model's own tokenizer,
            as a sentence; None where that is not known of any.

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
    other_tokens: str | None = None


def read_profile(path: str | Path) -> Profile:
    """Read the header of a GGUF file and say how to embed with it.

    Raises:
        ModelError: the file is not a usable GGUF file, or lacks what every model has.

    """
    return profile_of(read_header(path))


def profile_of(header: Header) -> Profile:
    """Build the profile of a file whose header was read."""
    architecture = _need(header, "general.architecture", str)
    published = _is_v5(header, architecture)
    context = _need(header, f"{architecture}.context_length", int)
    dimensions = _need(header, f"{architecture}.embedding_length", int)
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
        task=_get(header, "jlocal.task", str, "") or (_task_in(header) if published else None),
        prompts=MappingProxyType(_prompts(header) or (PROMPTS if published else {})),
        default_prompt=default or ("document" if published else None),
        normalizer=_normalizer(header),
        lstrip_tokens=_lstrip_tokens(header, published and architecture == "eurobert"),
        license=_get(header, "general.license", str, "") or None,
        other_tokens=_OTHER_TOKENS.get(_get(header, "tokenizer.ggml.model", str, "")),
    )


def _get(header: Header, key: str, kind: type, default: _T) -> _T:
    value = header.metadata.get(key, default)
    if value is default:
        return default
    # In Python a bool is an int; in a header it is not.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ModelError(
            f"{header.path} is not a usable GGUF file: {shown(key)} is {shown(value)}",
            path=header.path,
        )
    return cast(_T, value)


def _need(header: Header, key: str, kind: type[_T]) -> _T:
    value = _get(header, key, kind, None)
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


def _task_in(header: Header) -> str | None:
    names = " ".join(_names(header)).lower()
    return next((task for task in TASKS if task in names), None)


def _matryoshka(header: Header, dimensions: int, published: bool) -> tuple[int, ...]:
    value = header.metadata.get("jlocal.matryoshka_dimensions")
    if value is None:
        known = MATRYOSHKA if published else ()
        return tuple(size for size in known if size <= dimensions)
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
    # GGUF has no field for it. Every tokenizer that llama.cpp knows as `qwen2` normalises to NFC.
    pre_tokenizer = _get(header, "tokenizer.ggml.pre", str, "")
    known = "NFC" if pre_tokenizer == "qwen2" else "none"
    normalizer = _get(header, "jlocal.unicode_normalizer", str, known)
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
