"""The conversion run: read, plan, merge, write.

Everything that does not need the weights is checked before the first byte is written. A task's
weights are then read once, merged block by block on a few threads, and written to every file whose
type this package encodes; llama.cpp makes the other types from an F32 file.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from jlocal.arguments import of_keywords
from jlocal.errors import ArgumentError
from jlocal.llama.threads import default_threads
from jlocal.terms import Argument
from jlocal_convert import outputs
from jlocal_convert.checkpoint.digest import Digests
from jlocal_convert.checkpoint.download import locate
from jlocal_convert.checkpoint.embedding_config import check_name
from jlocal_convert.checkpoint.folder import open_checkpoint
from jlocal_convert.export import model_card
from jlocal_convert.export.merge import Block, blocks
from jlocal_convert.export.plan import Job, Plan, make_plan, needs_f32
from jlocal_convert.export.verification import check_reports, need_packages, verify_files
from jlocal_convert.gguf_file import DIRECT_TYPES, GGUFFile, largest
from jlocal_convert.progress import OnProgress, reporter
from jlocal_convert.quantization.importance import (
    Importance,
    ImportanceOptions,
    check_used,
    importance,
)
from jlocal_convert.quantization.run import Options, write_type

if TYPE_CHECKING:
    from typing_extensions import Unpack

# Each thread holds one block in several types; more threads would wait for the disk.
_MAX_THREADS = 8


class ConvertArguments(TypedDict, total=False):
    """The rarer keyword arguments of `convert`."""

    revision: str | None
    name: str | None
    calibration: Sequence[str | Path]
    imatrix: str | Path | None


@dataclass(frozen=True)
class _ConvertOptions:
    """The values of `ConvertArguments`."""

    revision: str | None = None
    name: str | None = None
    calibration: Sequence[str | Path] = ()
    imatrix: str | Path | None = None


def convert(
    checkpoint: str | Path,
    *,
    tasks: Sequence[str] | None = None,
    types: Sequence[str] = ("F16",),
    output: str | Path,
    verify: bool = False,
    overwrite: bool = False,
    threads: int = 0,
    progress: OnProgress | None = None,
    **more: Unpack[ConvertArguments],
) -> list[Path]:
    """Convert a checkpoint of jina-embeddings-v5-text to GGUF files.

    Args:
        checkpoint: a folder, or a repository of the hub as `owner/name`, which is downloaded.
        tasks: the adapters to merge, each into separate files; "all" takes every adapter. None
            takes retrieval, or the adapter that the checkpoint has merged already.
        types: file types such as F16, Q8_0 or Q4_K_M.
        output: folder for the files; made if missing.
        verify: compare the vectors of each file with the checkpoint's at the end, and write
            README.md beside them, a model card with the losses.
        overwrite: replace files that exist.
        threads: CPU threads; 0 takes one for each physical core.
        progress: called with a `Progress` after each step.
        **more: rarer arguments, as follows.

    Keyword Args:
        revision: branch, tag or commit of a repository.
        name: name of the model; None takes the name of its folder or repository.
        calibration: files of texts from which each task's importance matrix is computed, which
            the types of llama.cpp then use: see `jlocal_convert.quantization.calibration`;
            "default" is jlocal's own.
        imatrix: an importance matrix in a GGUF file instead, for one task.

    Returns:
        The files, by task and then by type, in the order of the arguments; then the model card,
        if `verify` is set.

    Raises:
        ExtraError: packages that `verify` needs are not installed.
        VerifyError: the files were written, but could not be verified.
        CheckpointError: the checkpoint or an adapter cannot be converted exactly.
        HubError: the checkpoint cannot be downloaded.
        OutputError: a type cannot be made, or a file cannot be written.
        ModelError: llama.cpp cannot quantise the model, or the importance matrix is of another
            model.
        TextError: the calibration texts are too few, too short or too long.
        ArgumentError: an argument is invalid, or contradicts another.

    """
    arguments = of_keywords(_ConvertOptions, "convert", more)
    matrix_source = importance(ImportanceOptions(arguments.calibration, arguments.imatrix))
    requested = outputs.check_types(types, with_importance=bool(matrix_source))
    check_used(matrix_source, requested)
    folder = outputs.check_folder(Path(output).expanduser())
    source = open_checkpoint(
        locate(checkpoint, tasks, arguments.revision, show_progress=progress is not None)
    )
    source = replace(
        source, name=check_name(source.name if arguments.name is None else arguments.name)
    )
    plan = make_plan(source, tasks, requested, folder)
    _check_importance(matrix_source, plan)
    if verify:
        need_packages()
    card = folder / model_card.README
    outputs.check_absent([*plan.targets, *([card] if verify else [])], overwrite=overwrite)
    outputs.check_space(folder, plan.bytes_needed())
    outputs.make_folder(folder)
    threads = threads or default_threads()
    with Digests() as digests:
        for job in plan.jobs:
            _Run(plan, job, matrix_source, threads, progress).write(digests)
    if not verify:
        return plan.targets
    files = {job.task: list(job.targets.values()) for job in plan.jobs}
    reports = verify_files(source, files, threads=threads, show_progress=progress is not None)
    model_card.write(
        card, model_card.source_of(checkpoint, source.folder), plan.targets, reports, matrix_source
    )
    check_reports(reports)
    return [*plan.targets, card]


def _check_importance(matrix_source: Importance, plan: Plan) -> None:
    if matrix_source.file and len(plan.jobs) > 1:
        texts = Argument("calibration")
        raise ArgumentError(
            f"an importance matrix belongs to one task; name one task, or texts with {texts}",
            texts,
            argument="imatrix",
        )
    for job in plan.jobs:
        matrix_source.check({tensor.name: tensor.shape[::-1] for tensor in job.tensors}, job.stem)


@dataclass(frozen=True)
class _Run:
    """Writes the files of one task."""

    plan: Plan
    job: Job
    importance: Importance
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
            if len(direct) < len(types):
                self._quantize(paths)
            outputs.publish((paths[name], target) for name, target in targets.items())

    def _write_tensors(self, files: Sequence[GGUFFile]) -> None:
        shown = f"{self.job.stem}-{'+'.join(file.type_name for file in files)}.gguf"
        limit = largest({*self.job.targets, *(file.type_name for file in files)})

        def write(block: Block) -> int:
            rows = block.tensor.rows(block.first, block.count, limit)
            for file in files:
                file.write_rows(block.tensor.name, block.first, rows)
            return rows.size

        report = reporter(self.progress, shown, "weights")
        done = 0
        # The BLAS library's own threads would compete with these.
        with (
            threadpool_limits(1, user_api="blas"),
            ThreadPoolExecutor(min(self.threads, _MAX_THREADS)) as pool,
        ):
            for size in pool.map(write, blocks(self.job.tensors)):
                done += size
                report(done, self.job.parameters)

    def _quantize(self, paths: dict[str, Path]) -> None:
        source = paths["F32"]
        matrix = self.importance.matrix_for(
            source, self.job.stem, threads=self.threads, progress=self.progress
        )
        with matrix as file:
            for name in paths:
                if name not in DIRECT_TYPES:
                    on_tensor = reporter(self.progress, self.job.targets[name].name, "tensors")
                    write_type(
                        source,
                        paths[name],
                        name,
                        Options(importance=file),
                        threads=self.threads,
                        on_tensor=on_tensor,
                    )
