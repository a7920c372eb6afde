"""A job: how a corpus is embedded, which of its shards are done, and which are still to do."""

from __future__ import annotations

import json
import os
import posixpath
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from jlocal.embed.embedder import Embedder, OnLong
from jlocal.embed.options import EncodeOptions
from jlocal.embed.run import run_metadata
from jlocal.errors import ArgumentError, OutputError
from jlocal.inputs.corpus import (
    CorpusFile,
    Fields,
    Shard,
    absolute,
    corpus_files,
    file_system,
    shards,
)
from jlocal.models import names
from jlocal.models.prompts import document_prompt

# Rows in a shard. More rows make fewer files, but a worker that dies loses more.
SHARD_ROWS = 10_000
# Readers of Parquet leave out names that begin with an underscore.
_FOLDER, _RECORD = "_jlocal", "job.json"
_LARGEST_RECORD = 256 << 20


@dataclass(frozen=True)
class Job:
    """How a corpus is embedded; a worker needs no more.

    Attributes:
        source: the corpus, as a path or URI.
        output: the folder of the vectors, as a path or URI.
        model: name or absolute path of the model.
        prompt: the prefix of each text.
        options: dimensions and precision of the vectors.
        on_long: how to treat a text that is longer than the model's context: "error" or "truncate".
        fields: where ids and texts are.
        shard_rows: the maximum number of rows in a shard.
        with_text: whether texts are written beside their vectors.
        made: how the vectors are made, for the metadata of each file.

    """

    source: str
    output: str
    model: str
    prompt: str
    options: EncodeOptions
    on_long: OnLong = "error"
    fields: Fields = field(default_factory=Fields)
    shard_rows: int = SHARD_ROWS
    with_text: bool = False
    made: dict[str, object] = field(default_factory=dict)

    @property
    def model_sha256(self) -> str:
        """SHA-256 of the model's file."""
        return str(self.made["model_sha256"])

    def settings(self) -> dict[str, Any]:
        """Return all settings that the content of the output depends on, besides the texts."""
        kept = ("model_sha256", "prompt", "dimensions", "precision")
        return {
            **{name: self.made[name] for name in kept},
            "on_long": self.on_long,
            "fields": asdict(self.fields),
            "shard_rows": self.shard_rows,
            "with_text": self.with_text,
        }


@dataclass(frozen=True)
class Task:
    """A shard, and the name of the file for its vectors."""

    shard: Shard
    name: str


@dataclass(frozen=True)
class Plan:
    """The shards of a job.

    Attributes:
        done: number of finished shards.
        tasks: the remaining shards.

    """

    done: int
    tasks: list[Task]


def new_job(
    source: str,
    output: str,
    model: str | Path | None = None,
    *,
    options: EncodeOptions | None = None,
    on_long: OnLong = "error",
    task: str | None = None,
) -> Job:
    """Make a job, and check it as far as possible before its shards are computed.

    Fields that do not concern the model have their defaults; `dataclasses.replace` changes them.

    Args:
        source: as in `Job`.
        output: as in `Job`.
        model: as in `Embedder`.
        options: of `Embedder.encode`; without a prompt, that for documents is taken.
        on_long: as in `Embedder`.
        task: as in `Embedder`.

    Raises:
        ArgumentError: the model has no such prompt or dimension.
        ModelError: the model cannot be found or loaded.

    """
    options = options or EncodeOptions()
    name = str(names.default_model() if model is None else model)
    path = names.resolve(name)
    with Embedder(path, on_long=on_long, gpu_layers=0, task=task) as embedder:
        if options.prompt is None and options.prompt_name is None:
            options = EncodeOptions(
                document_prompt(embedder.prompts), None, options.truncate_dim, options.precision
            )
        embedder.encode([], truncate_dim=options.truncate_dim, precision=options.precision)
        made = run_metadata(embedder, options)
    # The way of computing is each node's own.
    del made["compute_type"]
    return Job(
        absolute(source),
        absolute(output),
        str(path.absolute()) if Path(name).expanduser().exists() else name,
        str(made["prompt"]),
        EncodeOptions(None, None, options.truncate_dim, options.precision),
        on_long,
        made=made,
    )


def _lies_in(folder: str, outer: str, *, is_local: bool) -> bool:
    if is_local:
        folder, outer = os.path.realpath(folder), os.path.realpath(outer)
    return f"{folder}/".startswith(f"{outer}/")


def plan(job: Job) -> Plan:
    """Compare the corpus with the output; a new output remembers the job and the corpus.

    Files that were added to the corpus are included.

    Raises:
        ArgumentError: there is no such corpus, or the output lies in it.
        OutputError: the output was made in another way or of other files, or cannot be written.
        TextError: a file of the corpus cannot be read.

    """
    corpus, inside = file_system(job.source)
    system, folder = file_system(job.output)
    if _lies_in(folder, inside, is_local=system.type_name == corpus.type_name == "local"):
        raise ArgumentError(
            f"{job.output} lies in the corpus; name another folder", argument="output"
        )
    files = corpus_files(job.source)
    try:
        system.create_dir(f"{folder}/{_FOLDER}", recursive=True)
        done = _parts(system, folder)
        known = _known(job, system, folder, files, has_parts=bool(done))
    except OSError as error:
        raise unwritable_output(job.output, error) from error
    numbers = {name: number for number, name in enumerate(known)}
    tasks = [
        Task(shard, f"part-{numbers[shard.file.name]:05}-{shard.first:012}.parquet")
        for shard in shards(job.source, files, job.shard_rows)
    ]
    left = [task for task in tasks if task.name not in done]
    return Plan(len(tasks) - len(left), left)


def _parts(system: Any, folder: str) -> set[str]:
    from pyarrow import fs

    return {
        item.base_name
        for item in system.get_file_info(fs.FileSelector(folder))
        if item.is_file and item.base_name.endswith(".parquet")
    }


def _known(
    job: Job, system: Any, folder: str, files: Sequence[CorpusFile], *, has_parts: bool
) -> list[str]:
    """Return the names of all files by their numbers, which the names of shards contain."""
    path = f"{folder}/{_FOLDER}/{_RECORD}"
    record: dict[str, Any] = {"settings": job.settings(), "files": {}}
    if system.get_file_info([path])[0].is_file:
        record = _read(job, system, path)
        for name, value in job.settings().items():
            if record["settings"].get(name) != value:
                raise OutputError(
                    f"{job.output} was made with another {name}: {record['settings'].get(name)!r}, "
                    f"not {value!r}; name another folder, or give the same options again"
                )
    elif has_parts:
        raise OutputError(f"{job.output} has Parquet files that are no part of a job of jlocal")
    now = {file.name: [file.size, file.changed] for file in files}
    for name, stamp in record["files"].items():
        if now.get(name) != stamp:
            how = "changed" if name in now else "was removed"
            raise OutputError(
                f"{name} {how} since {job.output} was begun; name another folder for the vectors"
            )
    if now.keys() - record["files"].keys():
        record["files"] |= {name: now[name] for name in now if name not in record["files"]}
        write(system, folder, f"{_FOLDER}/{_RECORD}", json.dumps(record).encode())
    return list(record["files"])


def _read(job: Job, system: Any, path: str) -> dict[str, Any]:
    with system.open_input_stream(path) as file:
        data = file.read(_LARGEST_RECORD)
    try:
        record = json.loads(data)
        if isinstance(record["settings"], dict) and isinstance(record["files"], dict):
            return dict(record)
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise OutputError(f"{path} is damaged; name another folder for the vectors than {job.output}")


def write(system: Any, folder: str, name: str, data: Any) -> None:
    """Write a file that has its name only when it is complete.

    Raises:
        OSError: it cannot be written.

    """
    from pyarrow import fs

    aside = f"{folder}/{_FOLDER}/{posixpath.basename(name)}.{secrets.token_hex(4)}.tmp"
    try:
        if isinstance(system, fs.LocalFileSystem):
            import os

            with Path(aside).open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        else:
            with system.open_output_stream(aside) as stream:
                stream.write(data)
        system.move(aside, f"{folder}/{name}")
    except BaseException:
        with suppress(OSError):
            system.delete_file(aside)
        raise


def sweep(job: Job) -> None:
    """Remove unfinished files of killed workers; no worker of the job may still run."""
    from pyarrow import fs

    system, folder = file_system(job.output)
    with suppress(OSError):
        for item in system.get_file_info(fs.FileSelector(f"{folder}/{_FOLDER}")):
            if item.base_name.endswith(".tmp"):
                system.delete_file(item.path)


def unwritable_output(output: str, error: OSError) -> OutputError:
    """Make the error of an output that cannot be written."""
    reason = error.strerror or " ".join(str(error).split())[:200]
    return OutputError(f"cannot write {output}: {reason}; what is finished is kept")
