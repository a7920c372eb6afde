"""The job: read, plan, merge, write.

What can be checked without the weights is checked before the first byte is written. A task's
weights are then read once, merged block by block on a few threads, and written to every file whose
type this package encodes; llama.cpp makes the other types from an F32 file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from convert import outputs
from convert.checkpoint import open_checkpoint
from convert.digest import Digests
from convert.gguf_file import DIRECT_TYPES, GGUFFile, largest
from convert.hub import locate
from convert.merge import Block, blocks
from convert.plan import Job, Plan, make_plan, needs_f32
from convert.recipe import check_name
from jlocal.errors import ModelError
from jlocal.llama.quantize import quantize
from jlocal.llama.threads import default_threads

# Each thread holds one block in several types at once; more threads would wait for the disk.
_MAX_THREADS = 8


@dataclass(frozen=True)
class Progress:
    """How far the work is.

    Attributes:
        file: name of the file, or of several that are written together.
        done: out of `total`.
        total: in `unit`.
        unit: "weights" or "tensors".

    """

    file: str
    done: int
    total: int
    unit: str


OnProgress = Callable[[Progress], None]


def convert(
    checkpoint: str | Path,
    *,
    tasks: Sequence[str] | None = None,
    types: Sequence[str] = ("F16",),
    output: str | Path,
    revision: str | None = None,
    name: str | None = None,
    overwrite: bool = False,
    threads: int = 0,
    progress: OnProgress | None = None,
) -> list[Path]:
    """Convert a checkpoint of jina-embeddings-v5-text to GGUF files.

    Args:
        checkpoint: a folder, or a repository of the hub as `owner/name`, which is downloaded.
        tasks: which adapters to merge, each into files of its own; "all" for every one that is
            there. None is retrieval, or whatever an already merged checkpoint holds.
        types: file types such as F16, Q8_0 or Q4_K_M.
        output: folder for the files; made if missing.
        revision: branch, tag or commit of a repository.
        name: what to call the model; by default as its folder or its repository.
        overwrite: replace files that exist.
        threads: CPU threads; 0 takes one for each core.
        progress: called with a Progress now and then.

    Returns:
        The files, by task and then by type, in the order in which they were asked for.

    Raises:
        CheckpointError: the checkpoint or an adapter cannot be converted exactly.
        HubError: the checkpoint cannot be downloaded.
        OutputError: a type cannot be made, or a file cannot be written.
        ModelError: llama.cpp cannot quantise the model.

    """
    wanted = outputs.check_types(types)
    folder = outputs.check_folder(Path(output).expanduser())
    source = open_checkpoint(
        locate(checkpoint, tasks, revision, show_progress=progress is not None)
    )
    source = replace(source, name=check_name(source.name if name is None else name))
    plan = make_plan(source, tasks, wanted, folder)
    outputs.check_absent(plan.targets, overwrite=overwrite)
    outputs.check_space(folder, plan.bytes_needed())
    outputs.make_folder(folder)
    with Digests() as digests:
        for job in plan.jobs:
            _Run(plan, job, threads or default_threads(), progress).write(digests)
    return plan.targets


@dataclass(frozen=True)
class _Run:
    """The writing of one task's files."""

    plan: Plan
    job: Job
    threads: int
    progress: OnProgress | None

    def write(self, digests: Digests) -> None:
        sources = self.plan.source_files(self.job)
        digests.start(sources)
        metadata = self.plan.metadata(self.job)
        shapes = {tensor.name: tensor.shape for tensor in self.job.tensors}
        targets = self.job.targets
        types = [*targets, *(["F32"] if needs_f32(targets) else [])]
        names = (f"{self.job.stem}-{name}.gguf" for name in types)
        with outputs.hidden_files(self.job.folder, names) as hidden:
            paths = dict(zip(types, hidden, strict=True))
            direct = [name for name in types if name in DIRECT_TYPES]
            files = [GGUFFile(paths[name], name, metadata, shapes) for name in direct]
            self._write_tensors(files)
            digest = digests.of(self.plan.checkpoint.folder, sources)
            for file in files:
                file.write_digest(digest)
            for name in types:
                if name not in DIRECT_TYPES:
                    self._quantize(paths["F32"], paths[name], name)
            outputs.publish((paths[name], target) for name, target in targets.items())

    def _write_tensors(self, files: Sequence[GGUFFile]) -> None:
        shown = f"{self.job.stem}-{'+'.join(file.type_name for file in files)}.gguf"
        limit = largest({*self.job.targets, *(file.type_name for file in files)})

        def write(block: Block) -> int:
            rows = block.tensor.rows(block.first, block.count, limit)
            for file in files:
                file.write_rows(block.tensor.name, block.first, rows)
            return rows.size

        done = 0
        # Threads of the matrix product's own would get into the way of these.
        with (
            threadpool_limits(1, user_api="blas"),
            ThreadPoolExecutor(min(self.threads, _MAX_THREADS)) as pool,
        ):
            for size in pool.map(write, blocks(self.job.tensors)):
                done += size
                self._report(shown, done, self.job.parameters, "weights")

    def _quantize(self, source: Path, target: Path, type_name: str) -> None:
        shown = self.job.targets[type_name].name

        def report(done: int, total: int) -> None:
            self._report(shown, done, total, "tensors")

        try:
            quantize(source, target, type_name, threads=self.threads, progress=report)
        except ModelError:
            # llama.cpp does not say that a disk is full.
            outputs.check_space(self.job.folder, 1 << 20)
            raise

    def _report(self, file: str, done: int, total: int, unit: str) -> None:
        if self.progress:
            self.progress(Progress(file, done, total, unit))
