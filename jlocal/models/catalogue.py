"""The published models, and what a user may call them."""

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
        architecture: as GGUF headers name it.
        backbone: the model that it was trained from.
        dimensions: length of the full vector.
        context: the most tokens in one text.

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
        """As a user types it: "small-retrieval"."""
        return f"{self.size}-{self.task}"

    @property
    def base(self) -> str:
        """The repository with the backbone and all adapters."""
        return f"jinaai/jina-embeddings-v5-text-{self.size}"

    @property
    def repositories(self) -> tuple[str, str]:
        """Where a GGUF file of it may be: the GGUF repository, then the merged one."""
        merged = f"{self.base}-{self.task}"
        return f"{merged}-GGUF", merged

    @property
    def matryoshka(self) -> tuple[int, ...]:
        """The lengths that vectors may be cut to."""
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
    """What a name means: a model of the catalogue or another repository, and a type.

    Attributes:
        model: the catalogue's entry, or None for another repository.
        type: of the weights, such as "Q8_0"; of another repository also a file without ".gguf".
        repositories: where to look for its file, in this order.

    """

    model: Model | None
    type: str
    repositories: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name in its one full spelling, such as "small-retrieval:Q8_0"."""
        return f"{self.model.name if self.model else self.repositories[0]}:{self.type}"


def parse(name: str) -> Reference:
    """Read a name.

    Args:
        name: "small", "nano-clustering:F16", "owner/repo:TYPE"; in any case, Q8_0 by default.

    Raises:
        ModelError: it names nothing; the message offers what is near.

    """
    reference = _read(name)
    if reference is None:
        raise ModelError(f"there is no model {name[:80]!r}{_suggest(name)}")
    if reference.model and reference.type not in KNOWN_FILE_TYPES:
        raise ModelError(
            f"there is no type {reference.type[:40]!r}{_near(reference.type, KNOWN_FILE_TYPES)}"
        )
    return reference


def canonical(name: str) -> str:
    """Return the full spelling of a name; a name that the catalogue cannot read stays."""
    reference = _read(name)
    return reference.name if reference else name


def model_of(name: str) -> Model | None:
    """Return the catalogue's entry that a name means, if it means one."""
    reference = _read(name)
    return reference.model if reference else None


def type_in(file: str) -> str | None:
    """Find the type in a file's name, in any case, as a whole word; the longest match wins."""
    found = [kind for kind in KNOWN_FILE_TYPES if _says(file, kind)]
    return max(found, key=len) if found else None


def is_split(file: str) -> bool:
    """Say whether a file is one part of a model in several files."""
    return _SPLIT.search(file) is not None


def choose(files: Iterable[str], reference: Reference) -> str | None:
    """Choose a model's file from the listing of a repository; None if no file is of its type.

    Raises:
        NotPublishedError: only a file in several parts is of its type.
        HubError: several files are.

    """
    found = [file for file in gguf_files(files) if _says(file, reference.type)]
    wanted = reference.type.casefold()
    exact = [file for file in found if PurePosixPath(file).stem.casefold() == wanted]
    whole = exact or [file for file in found if not is_split(file)]
    if found and not whole:
        raise NotPublishedError(f"{found[0]} is split into several files, which jlocal cannot read")
    if len(whole) > 1:
        names = ", ".join(PurePosixPath(file).stem for file in sorted(whole))
        raise HubError(
            f"several files are of the type {reference.type}; name one as OWNER/REPO:FILE: {names}"
        )
    return whole[0] if whole else None


def gguf_files(files: Iterable[str]) -> list[str]:
    """Keep the GGUF files that may be a text model."""
    return sorted(
        file
        for file in files
        if file.casefold().endswith(".gguf")
        and not PurePosixPath(file).name.casefold().startswith("mmproj")
    )


def _says(file: str, kind: str) -> bool:
    stem = re.sub(r"\.gguf$", "", file, flags=re.IGNORECASE)
    return bool(re.search(rf"(?<![a-z0-9]){re.escape(kind)}(?![a-z0-9_])", stem, re.IGNORECASE))


def _read(name: str) -> Reference | None:
    body, colon, kind = name.partition(":")
    kind = _type(kind) if colon else DEFAULT_TYPE
    if not _TYPE.fullmatch(kind):
        return None
    short = _short(body)
    if model := MODELS.get(short) or MODELS.get(f"{short}-{DEFAULT_TASK}"):
        return Reference(model, kind, model.repositories)
    if _JINA.fullmatch(body) or ".." in body or "--" in body:
        return None
    if _REPOSITORY.fullmatch(body):
        return Reference(None, kind, (body,))
    return None


def _short(body: str) -> str:
    """Leave of jinaai's repository names what is our name."""
    jina = _JINA.fullmatch(body)
    return (jina[1] if jina else body).casefold()


def _type(text: str) -> str:
    return next((kind for kind in KNOWN_FILE_TYPES if kind.casefold() == text.casefold()), text)


def near(name: str) -> str | None:
    """Return the name of a published model that was most probably meant, if any is near."""
    body, _, kind = name.partition(":")
    found = nearest(_short(body), ("small", "nano", *MODELS))
    kind = nearest(kind, KNOWN_FILE_TYPES) or ""
    return found and f"{found}{kind and ':'}{kind}"


def _suggest(name: str) -> str:
    if meant := near(name):
        return f"; did you mean {meant}?"
    if nearest(name.partition(":")[0], ["starter"]):
        return " to get; the starter model comes with jlocal and needs no download"
    return f"; there are {', '.join(MODELS)}, and any OWNER/REPO:TYPE of the hub"


def _near(text: str, known: Iterable[str]) -> str:
    near = nearest(text, known)
    return f"; did you mean {near}?" if near else f"; there are {', '.join(known)}"


def nearest(text: str, known: Iterable[str]) -> str | None:
    """Return the name that is spelled most like a text, in any case, if any is."""
    spelled = {word.casefold(): word for word in known}
    # difflib's time grows with the square of the length.
    near = difflib.get_close_matches(text[:80].casefold(), spelled, n=1)
    return spelled[near[0]] if near else None
