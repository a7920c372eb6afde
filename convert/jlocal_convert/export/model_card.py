"""The model card, README.md, beside the files of a conversion.

Hubs read the front matter: https://huggingface.co/docs/hub/model-cards. Everything else comes from
the files themselves, so that a card never contradicts them.
"""

from __future__ import annotations

import json
import platform
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jlocal._version import __version__
from jlocal.errors import VectorError
from jlocal.files import sha256_of
from jlocal.gguf.header import read_header
from jlocal.models.info import model_info
from jlocal.outputs.atomic import atomic_write
from jlocal_convert.export.verification import Reports
from jlocal_convert.quantization.calibration import DEFAULT, DEFAULT_NAME
from jlocal_convert.quantization.importance import Importance

README = "README.md"


@dataclass(frozen=True)
class Source:
    """The converted checkpoint, named for a reader on another machine.

    Attributes:
        name: a repository of the hub, or the name of a folder.
        commit: commit of the repository.
        is_repository: whether `name` is a repository.

    """

    name: str
    commit: str | None
    is_repository: bool


def source_of(checkpoint: str | Path, folder: Path) -> Source:
    """Return the source that a card names.

    Args:
        checkpoint: the folder or repository that the user named.
        folder: the folder where it was found.

    """
    if Path(checkpoint).expanduser() == folder:
        return Source(folder.resolve().name, None, False)
    # The hub's cache names a snapshot's folder after its commit.
    commit = folder.name if folder.parent.name == "snapshots" else None
    return Source(str(checkpoint), commit, True)


def write(
    path: Path, source: Source, files: Sequence[Path], reports: Reports, importance: Importance
) -> None:
    """Write the card.

    Args:
        path: path of the card.
        source: the converted checkpoint.
        files: the written files.
        reports: the report of each file.
        importance: the source of the importance matrix, if there was one.

    Raises:
        OutputError: the card cannot be written.

    """
    text = "\n".join(_lines(source, [_File(file) for file in files], reports, importance))
    with atomic_write(path) as file:
        file.write(text.encode())


class _File:
    """A file with its header and its description."""

    def __init__(self, path: Path) -> None:
        self.path, self.header = path, read_header(path)
        self.info: dict[str, Any] = model_info(self.header)

    def text(self, key: str) -> str | None:
        value = self.header.metadata.get(key)
        return value if isinstance(value, str) and value else None


def _lines(
    source: Source, files: Sequence[_File], reports: Reports, importance: Importance
) -> Iterator[str]:
    import yaml  # type: ignore[import-untyped]

    front = yaml.safe_dump(_front(source, files[0]), sort_keys=False, allow_unicode=True)
    yield f"---\n{front}---\n"
    yield f"# {_plain(source.name)}: GGUF files\n"
    yield from _about(source, files[0])
    yield from _table(files, reports)
    yield from _use(files[0])
    yield "## What the files lose\n"
    yield (
        "Each file's vectors are compared with those of the checkpoint, which transformers and "
        "PEFT compute in float32 with the adapter unmerged. The texts come with jlocal: terms, "
        "questions, sentences and paragraphs in 20 languages, code, and texts that are hard for "
        "tokenizers, each with every prompt.\n"
    )
    for file in files:
        yield f"### {_plain(file.path.name)}\n"
        report = reports[file.path]
        if isinstance(report, VectorError):
            reason = str(report).replace(str(file.path), file.path.name)
            yield f"**Do not use this file**: its numbers overflow. {_plain(reason)}.\n"
        else:
            yield report.markdown()
    yield from _made(source, files, importance)


def _front(source: Source, file: _File) -> dict[str, Any]:
    metadata = file.header.metadata
    languages = metadata.get("general.languages")
    front: dict[str, Any] = {"license": file.text("general.license")}
    for key in ("name", "link"):
        front[f"license_{key}"] = file.text(f"general.license.{key}")
    if isinstance(languages, tuple):
        front["language"] = [language for language in languages if isinstance(language, str)]
    front["base_model"] = source.name if source.is_repository else None
    front["pipeline_tag"] = "feature-extraction"
    front["tags"] = ["gguf", "sentence-similarity", "text-embeddings", "jlocal"]
    return {key: value for key, value in front.items() if value}


def _about(source: Source, file: _File) -> Iterator[str]:
    name = _code(source.name)
    if source.is_repository:
        name = f"[{_plain(source.name)}](https://huggingface.co/{source.name})"
    licence = file.info["license"]
    statement = (
        f"The licence of the weights is {_code(licence)}, as the checkpoint's card states"
        if licence
        else "The checkpoint's card states no licence; ask its authors before you share the files"
    )
    yield f"{name} for llama.cpp, converted by jlocal. {statement}.\n"


def _table(files: Sequence[_File], reports: Reports) -> Iterator[str]:
    yield "| file | task | MB | least cosine | mean cosine | recall@10 | SHA-256 |"
    yield "| --- | --- | ---: | ---: | ---: | ---: | --- |"
    for file in files:
        report = reports[file.path]
        if isinstance(report, VectorError):
            yield (
                f"| {_plain(file.path.name)} | {_plain(file.info['task'] or '-')} "
                f"| {file.info['bytes'] / 1e6:,.1f} | overflows | - | - "
                f"| `{sha256_of(file.path)}` |"
            )
            continue
        recall = f"{report.neighbours.recall:.4f}" if report.neighbours else "-"
        yield (
            f"| {_plain(file.path.name)} | {_plain(file.info['task'] or '-')} "
            f"| {file.info['bytes'] / 1e6:,.1f} | {report.overall.min:.5f} "
            f"| {report.overall.mean:.5f} | {recall} | `{report.model.sha256}` |"
        )
    yield ""


def _use(file: _File) -> Iterator[str]:
    info = file.info
    yield "## Use\n"
    lengths = [str(size) for size in info["matryoshka"] if size < info["dimensions"]]
    shorter = f", or the first {', '.join(lengths)} of these" if lengths else ""
    yield f"```sh\njlocal embed -c 'a text' -m {shlex.quote(file.path.name)}\n```\n"
    yield (
        f"A vector has {info['dimensions']:,} dimensions{shorter}, and length 1. A text has at "
        f"most {info['context']:,} tokens. Pooling: {info['pooling']}. The files contain these "
        "settings; with other programs, put the prompt before the text:\n"
    )
    yield "| prompt | text before |"
    yield "| --- | --- |"
    for name, prefix in info["prompts"].items():
        yield f"| {_plain(name)} | {_code(json.dumps(prefix, ensure_ascii=False))} |"
    yield ""


def _made(source: Source, files: Sequence[_File], importance: Importance) -> Iterator[str]:
    words = ["jlocal convert", shlex.quote(_line(source.name))]
    words += [f"--revision {source.commit}"] if source.commit else []
    for option, key in (("--task", "task"), ("--to", "type")):
        words += [f"{option} {name}" for name in dict.fromkeys(f.info[key] for f in files) if name]
    words += _calibration(importance)
    yield "## How they were made\n"
    yield f"```sh\n{' '.join(words)} --verify -o .\n```\n"
    yield (
        f"jlocal {__version__}, llama-cpp-python {version('llama-cpp-python')}, "
        f"gguf {version('gguf')}, transformers {version('transformers')}, "
        f"peft {version('peft')}, on {platform.machine()}. The adapter is merged into the backbone "
        "in float32. The SHA-256 of the checkpoint's files, listed as by `sha256sum`:\n"
    )
    for file in {file.info["task"]: file for file in files}.values():
        yield f"- {_plain(file.info['task'] or 'all')}: `{file.info['source sha256']}`"
    yield ""


def _calibration(importance: Importance) -> list[str]:
    """Return the options that named the importance matrix, or its calibration texts."""
    if importance.file:
        return ["--imatrix", shlex.quote(_line(importance.file.name))]
    names = importance.calibration.names if importance.calibration else ()
    arguments = (DEFAULT if name == DEFAULT_NAME else shlex.quote(_line(name)) for name in names)
    return [f"--calibrate {name}" for name in arguments]


def _plain(text: str) -> str:
    """Escape a name for Markdown, on one line."""
    return re.sub(r"([\\`*\[\]<>|#])", r"\\\1", _line(text))


def _code(text: str) -> str:
    """Return a text as inline code, on one line, also inside a table."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if "`" in text else ""
    return fence + space + _line(text).replace("|", "\\|") + space + fence


def _line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
