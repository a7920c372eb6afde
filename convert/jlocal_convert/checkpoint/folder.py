"""A checkpoint's folder: its configuration and one table of all its tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jlocal.errors import CheckpointError
from jlocal.models.catalogue import TASKS
from jlocal_convert.checkpoint.json_config import JsonConfig, read_bytes, read_json_config
from jlocal_convert.checkpoint.safetensors import StoredTensor, read_header

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")

_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_SHARD = re.compile(r"[\w-][\w.-]*\.safetensors")
_TASK_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}")
_MAX_SHARDS = 1000

# gguf reads these by itself, without a limit.
_READ_BY_GGUF = (
    *("tokenizer_config.json", "chat_template.json", "chat_template.jinja", "merges.txt"),
    *("additional_chat_templates/*.jinja", "README.md"),
)
_MAX_BYTES = 16 << 20


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was opened and checked.

    Attributes:
        folder: its folder.
        name: the model's name, from its folder or its repository.
        config: config.json.
        tensors: all weights by name, without the prefix `model.`.
        weight_files: the files of the weights.
        adapters: names of the tasks that have an adapter; empty for a merged checkpoint.

    """

    folder: Path
    name: str
    config: JsonConfig
    tensors: Mapping[str, StoredTensor]
    weight_files: tuple[Path, ...]
    adapters: tuple[str, ...]

    @property
    def merged_task(self) -> str | None:
        """The task in the name of a merged checkpoint."""
        return next((task for task in TASKS if self.name.endswith(f"-{task}")), None)

    def source_files(self, adapter: str | None) -> list[Path]:
        """List the files that determine the vectors, those of a named adapter included."""
        names = ADAPTER_FILES if adapter in self.adapters else ()
        return [
            *(self.folder / name for name in ("config.json", "tokenizer.json")),
            *self.weight_files,
            *(self.folder / "adapters" / str(adapter) / name for name in names),
        ]


def open_checkpoint(folder: Path) -> Checkpoint:
    """Open a local checkpoint.

    Raises:
        CheckpointError: the checkpoint is incomplete, corrupt, or of another format.

    """
    config = read_json_config(folder / "config.json")
    for pattern in _READ_BY_GGUF:
        for path in folder.glob(pattern):
            read_bytes(path, _MAX_BYTES)
    files, placed = _weight_files(folder)
    tensors: dict[str, StoredTensor] = {}
    for file in files:
        for name, tensor in read_header(file).items():
            if placed is not None and placed.get(name) != file.name:
                raise CheckpointError(
                    f"{file} holds {name!r}, but {_INDEX} does not list it there", path=file
                )
            short = name.removeprefix("model.")
            if short in tensors:
                raise CheckpointError(f"{folder} has the tensor {short!r} twice", path=folder)
            tensors[short] = tensor
    for name in placed or ():
        if name.removeprefix("model.") not in tensors:
            raise CheckpointError(
                f"{folder} has no tensor {name!r}, which {_INDEX} lists", path=folder
            )
    return Checkpoint(folder, name_of(folder), config, tensors, files, _adapters(folder))


def name_of(folder: Path) -> str:
    """Return a model's name: its folder's, or its repository's in the hub's cache."""
    path = folder.resolve()
    if path.parent.name == "snapshots" and path.parents[1].name.startswith("models--"):
        return path.parents[1].name.split("--")[-1]
    return path.name or "model"


def _weight_files(folder: Path) -> tuple[tuple[Path, ...], Mapping[str, str] | None]:
    """Return the weight files, and the index's map of tensors to files, if there is one."""
    if (folder / _SINGLE).exists():
        return (folder / _SINGLE,), None
    if not (folder / _INDEX).exists():
        raise CheckpointError(
            f"{folder} has neither {_SINGLE} nor {_INDEX}; other formats cannot be converted",
            path=folder,
        )
    index = read_json_config(folder / _INDEX, 64 << 20)
    placed = index.section("weight_map").table
    shards = set(map(str, placed.values()))
    for shard in shards:
        # A shard is a bare name: an index must not lead out of the checkpoint.
        if not _SHARD.fullmatch(shard):
            raise CheckpointError(
                f"{index.path} names the shard {shard[:80]!r}, which is not a file name; download "
                "it again",
                path=index.path,
            )
    if not 1 <= len(shards) <= _MAX_SHARDS:
        raise CheckpointError(
            f"{index.path} names {len(shards)} shards; download it again", path=index.path
        )
    return tuple(folder / shard for shard in sorted(shards)), placed


def _adapters(folder: Path) -> tuple[str, ...]:
    names = {path.parent.name for path in (folder / "adapters").glob("*/adapter_config.json")}
    known = [task for task in TASKS if task in names]
    return (*known, *sorted(name for name in names - set(known) if _TASK_NAME.fullmatch(name)))
