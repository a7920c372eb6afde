"""The catalogue of published models, and the names that users give for them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from types import MappingProxyType

from jlocal.errors import HubError, ModelError, NotPublishedError
from jlocal.gguf.types import KNOWN_FILE_TYPES

DEFAULT_TASK, DEFAULT_TYPE = "retrieval", "Q8_0"
TASKS = ("retrieval", "text-matching", "clustering", "classification")
MATRYOSHKA = (32, 64, 128, 256, 512, 768, 1024)
PROMPTS: Mapping[str, str] = MappingProxyType({"query": "Query: ", "document": "Document: "})
LICENSE = "cc-by-nc-4.0"


@dataclass(frozen=True)
class Model:
    """One published model: a backbone with one task's adapter merged into it.

    Attributes:
        architecture: its name in GGUF headers.
        backbone: repository of the model that it was trained from.
        dimensions: length of the full vector.
        context: maximum number of tokens in a text.

    """

    size: str
    task: str
    architecture: str
    backbone: str
    dimensions: int
    context: int
    prompts: Mapping[str, str] = field(default_factory=lambda: PROMPTS)
    license: str = LICENSE

    @property
    def name(self) -> str:
        """The name that a user types, such as "small-retrieval"."""
        return f"{self.size}-{self.task}"

    @property
    def base(self) -> str:
        """The repository with the backbone and all adapters."""
        return f"jinaai/jina-embeddings-v5-text-{self.size}"

    @property
    def repositories(self) -> tuple[str, str]:
        """Repositories that may hold its GGUF file: the GGUF repository, then the merged one."""
        merged = f"{self.base}-{self.task}"
        return f"{merged}-GGUF", merged

    @property
    def matryoshka(self) -> tuple[int, ...]:
        """The lengths that its vectors may be truncated to."""
        return tuple(length for length in MATRYOSHKA if length <= self.dimensions)


MODELS: Mapping[str, Model] = MappingProxyType(
    {
        model.name: model
        for task in TASKS
        for model in (
            Model("small", task, "qwen3", "Qwen/Qwen3-0.6B", 1024, 32_768),
            Model("nano", task, "eurobert", "EuroBERT/EuroBERT-210m", 768, 8_192),
        )
    }
)

# https://huggingface.co/docs/huggingface_hub/package_reference/utilities#validate-repo-id
_REPOSITORY = re.compile(r"[A-Za-z0-9_][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}", re.ASCII)
_TYPE = re.compile(r"[\w.-]{1,96}", re.ASCII)
_SPLIT = re.compile(r"-\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)
_JINA = re.compile(r"(?:jinaai/)?jina-embeddings-v5-text-(.+?)(?:-gguf)?", re.IGNORECASE)


@dataclass(frozen=True)
class Reference:
    """A parsed name: a model of the catalogue or another repository, and a type.

    Attributes:
        model: the catalogue's entry; None for another repository.
        type: type of the weights, such as "Q8_0"; for another repository, a file name without
            ".gguf" is also possible.
        repositories: repositories to search for the file, in this order.

    """

    model: Model | None
    type: str
    repositories: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name in full, such as "small-retrieval:Q8_0"."""
        return f"{self.model.name if self.model else self.repositories[0]}:{self.type}"


def parse(name: str) -> Reference:
    """Parse a model's name.

    Args:
        name: "small", "nano-clustering:F16" or "owner/repo:TYPE", in any case; the type is Q8_0
            by default.

    Raises:
        ModelError: there is no model of this name; the message suggests similar names.

    """
    reference = _parse(name)
    if reference is None:
        raise ModelError(f"there is no model {name[:80]!r}{_suggest(name)}")
    if reference.model and reference.type not in KNOWN_FILE_TYPES:
        hint = _suggest_from(reference.type, KNOWN_FILE_TYPES)
        raise ModelError(f"there is no type {reference.type[:40]!r}{hint}")
    return reference


def canonical(name: str) -> str:
    """Return a name in full; a name that cannot be parsed is returned unchanged."""
    reference = _parse(name)
    return reference.name if reference else name


def published_model(name: str) -> Model | None:
    """Return the catalogue's entry for a name; None if there is none."""
    reference = _parse(name)
    return reference.model if reference else None


def type_in(file: str) -> str | None:
    """Find the type in a file's name, in any case, as a whole word; the longest match wins."""
    matches = [name for name in KNOWN_FILE_TYPES if _has_type(file, name)]
    return max(matches, key=len) if matches else None


def is_part_of_split(file: str) -> bool:
    """Return whether a file is one part of a model that is split into several files."""
    return _SPLIT.search(file) is not None


def choose(files: Iterable[str], reference: Reference) -> str | None:
    """Choose a model's file from the listing of a repository; None if no file has its type.

    Raises:
        NotPublishedError: the only file of this type is split into parts.
        HubError: several files have this type.

    """
    matches = [file for file in gguf_files(files) if _has_type(file, reference.type)]
    requested = reference.type.casefold()
    exact = [file for file in matches if PurePosixPath(file).stem.casefold() == requested]
    unsplit = exact or [file for file in matches if not is_part_of_split(file)]
    if matches and not unsplit:
        raise NotPublishedError(
            f"{matches[0]} is split into several files, which jlocal cannot read"
        )
    if len(unsplit) > 1:
        names = ", ".join(PurePosixPath(file).stem for file in sorted(unsplit))
        raise HubError(
            f"several files have the type {reference.type}; name one as OWNER/REPO:FILE: {names}"
        )
    return unsplit[0] if unsplit else None


def gguf_files(files: Iterable[str]) -> list[str]:
    """Return the GGUF files that may be a text model."""
    return sorted(
        file
        for file in files
        if file.casefold().endswith(".gguf")
        and not PurePosixPath(file).name.casefold().startswith("mmproj")
    )


def _has_type(file: str, type_name: str) -> bool:
    stem = re.sub(r"\.gguf$", "", file, flags=re.IGNORECASE)
    return bool(
        re.search(rf"(?<![a-z0-9]){re.escape(type_name)}(?![a-z0-9_])", stem, re.IGNORECASE)
    )


def _parse(name: str) -> Reference | None:
    base_name, colon, type_name = name.partition(":")
    type_name = _canonical_type(type_name) if colon else DEFAULT_TYPE
    if not _TYPE.fullmatch(type_name):
        return None
    short = _short_name(base_name)
    if model := MODELS.get(short) or MODELS.get(f"{short}-{DEFAULT_TASK}"):
        return Reference(model, type_name, model.repositories)
    if _JINA.fullmatch(base_name) or ".." in base_name or "--" in base_name:
        return None
    if _REPOSITORY.fullmatch(base_name):
        return Reference(None, type_name, (base_name,))
    return None


def _short_name(base_name: str) -> str:
    """Shorten one of jinaai's repository names to the catalogue's name."""
    jina = _JINA.fullmatch(base_name)
    return (jina[1] if jina else base_name).casefold()


def _canonical_type(text: str) -> str:
    return next((name for name in KNOWN_FILE_TYPES if name.casefold() == text.casefold()), text)


def closest_published(name: str) -> str | None:
    """Return the name of the published model that is closest to a name, if any is similar."""
    base_name, _, type_name = name.partition(":")
    model_name = closest(_short_name(base_name), ("small", "nano", *MODELS))
    type_name = closest(type_name, KNOWN_FILE_TYPES) or ""
    return model_name and f"{model_name}{type_name and ':'}{type_name}"


def _suggest(name: str) -> str:
    if meant := closest_published(name):
        return f"; did you mean {meant}?"
    if closest(name.partition(":")[0], ["starter"]):
        return " to get; the starter model comes with jlocal and needs no download"
    return f"; there are {', '.join(MODELS)}, and any OWNER/REPO:TYPE of the hub"


def _suggest_from(text: str, names: Iterable[str]) -> str:
    match = closest(text, names)
    return f"; did you mean {match}?" if match else f"; there are {', '.join(names)}"


def closest(text: str, names: Iterable[str]) -> str | None:
    """Return the name that is closest to a text, in any case; None if no name is similar."""
    spelled = {word.casefold(): word for word in names}
    # difflib's time grows with the square of the length.
    match = difflib.get_close_matches(text[:80].casefold(), spelled, n=1)
    return spelled[match[0]] if match else None
