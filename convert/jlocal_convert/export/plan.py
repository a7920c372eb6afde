"""The plan of a run, checked against the checkpoint before any weight is read."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
from jlocal_convert.checkpoint.backbones import identify
from jlocal_convert.checkpoint.backbones.backbone import Backbone
from jlocal_convert.checkpoint.embedding_config import EmbeddingConfig, read_embedding_config
from jlocal_convert.checkpoint.folder import Checkpoint
from jlocal_convert.checkpoint.lora import Adapter, read_adapter
from jlocal_convert.checkpoint.tasks import choose_tasks
from jlocal_convert.checkpoint.tokenizer import Tokenizer, read_tokenizer
from jlocal_convert.export import metadata
from jlocal_convert.export.merge import MergedTensor, merge
from jlocal_convert.gguf_file import DIRECT_TYPES, tensor_type


@dataclass(frozen=True)
class Job:
    """One task: its output files, one of each type, and their tensors."""

    task: str | None
    stem: str
    folder: Path
    types: Sequence[str]
    adapter: Adapter | None
    tensors: Sequence[MergedTensor]

    @property
    def targets(self) -> dict[str, Path]:
        """Type -> file."""
        return {name: self.folder / f"{self.stem}-{name}.gguf" for name in self.types}

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(tensor.size for tensor in self.tensors)

    def bytes_of(self, type_name: str) -> int:
        """Return an upper bound of the size of the tensors in a file of this type, in bytes."""
        # llama.cpp mixes types by its own rules, and uses none larger than Q6_K.
        type_name = type_name if type_name in DIRECT_TYPES else "Q6_K"
        return sum(tensor_type(type_name, t.name, t.shape).nbytes(t.shape) for t in self.tensors)


@dataclass(frozen=True)
class Plan:
    """The checked parts of a checkpoint, and the jobs of a run."""

    checkpoint: Checkpoint
    backbone: Backbone
    tokenizer: Tokenizer
    embedding_config: EmbeddingConfig
    jobs: Sequence[Job]

    @property
    def targets(self) -> list[Path]:
        """All output files, by task and then by type."""
        return [file for job in self.jobs for file in job.targets.values()]

    def source_files(self, job: Job) -> list[Path]:
        """List the files that determine the weights and the tokens of a job's output."""
        return self.checkpoint.source_files(job.task)

    def bytes_needed(self) -> int:
        """Return an upper bound of the disk space of all files, temporary ones included."""
        # Tokens and merges take less space in a header than in tokenizer.json.
        header = (self.checkpoint.folder / "tokenizer.json").stat().st_size + (1 << 20)
        sizes = [job.bytes_of(name) + header for job in self.jobs for name in job.types]
        aside = [job.bytes_of("F32") + header for job in self.jobs if needs_f32(job.types)]
        return sum(sizes) + max(aside, default=0)

    def metadata(self, job: Job) -> Any:
        """Return a gguf.GGUFWriter with all keys that do not depend on the file's type.

        Raises:
            CheckpointError: the model card or the tokenizer's configuration is malformed.

        """
        writer = gguf.GGUFWriter(None, self.backbone.architecture)
        metadata.write_metadata(writer, self.checkpoint.folder, job.stem, job.parameters)
        self.backbone.write_metadata(writer)
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        self.tokenizer.write_metadata(writer)
        writer.add_string("jlocal.task", job.task or "")
        self.embedding_config.write_metadata(writer)
        return writer


def needs_f32(types: Collection[str]) -> bool:
    """Tell whether llama.cpp needs a temporary F32 file to make one of the types from."""
    return "F32" not in types and any(name not in DIRECT_TYPES for name in types)


def make_plan(
    checkpoint: Checkpoint, tasks: Sequence[str] | None, types: Sequence[str], folder: Path
) -> Plan:
    """Read and check everything but the weights.

    Args:
        checkpoint: the checkpoint to convert.
        tasks: as in `convert`.
        types: checked names of file types.
        folder: folder of the output files.

    Raises:
        CheckpointError: the checkpoint or an adapter cannot be converted exactly.

    """
    chosen = choose_tasks(checkpoint, tasks)
    backbone = identify(checkpoint)
    targets = backbone.targets()
    matrices = {t.source.removesuffix(".weight"): t.shape for t in targets if "_proj" in t.source}
    jobs = []
    for task in chosen:
        adapter = None
        if task is not None and checkpoint.adapters:
            adapter = read_adapter(checkpoint.folder / "adapters" / task, matrices)
        stem = checkpoint.name
        if task is not None and not stem.endswith(f"-{task}"):
            stem = f"{stem}-{task}"
        tensors = merge(checkpoint, targets, adapter)
        jobs.append(Job(task, stem, folder, types, adapter, tensors))
    tokenizer = read_tokenizer(checkpoint.folder, backbone.vocabulary)
    return Plan(
        checkpoint, backbone, tokenizer, read_embedding_config(checkpoint, backbone.hidden), jobs
    )
