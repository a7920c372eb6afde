"""Verification of written files against the vectors of their checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from jlocal.errors import JlocalError, VectorError, VerifyError
from jlocal.outputs.staging import scratch_folder
from jlocal_convert.checkpoint.folder import Checkpoint

if TYPE_CHECKING:
    from jlocal.verify import Report

# The report of each file, or the error that a vector of it has no direction.
Reports: TypeAlias = "Mapping[Path, Report | VectorError]"

# jlocal.verify imports llama.cpp, so it is imported where it is used.


def need_packages() -> None:
    """Check that the packages that compute a checkpoint are installed.

    Raises:
        ExtraError: a package is missing.

    """
    from jlocal_convert import reference

    reference.need_packages()


def verify_files(
    checkpoint: Checkpoint,
    tasks: Mapping[str | None, Sequence[Path]],
    *,
    threads: int,
    show_progress: bool,
) -> dict[Path, Report | VectorError]:
    """Compare files with the checkpoint, computed in float32 by transformers and PEFT.

    Args:
        checkpoint: the checkpoint of the files.
        tasks: task to its files.
        threads: CPU threads.
        show_progress: show texts done, rate and time left on stderr.

    Returns:
        The report of each file, or the error that its numbers overflow.

    Raises:
        VerifyError: the files were written, but could not be compared.

    """
    from jlocal.verify import save_reference, verify
    from jlocal_convert.reference import CheckpointEncoder

    reports: dict[Path, Report | VectorError] = {}
    try:
        with scratch_folder() as folder:
            for task, files in tasks.items():
                # The checkpoint is slow, so it is computed once for all files of a task.
                vectors = folder / "reference.npz"
                save_reference(
                    checkpoint.folder,
                    vectors,
                    task=task,
                    open_checkpoint=CheckpointEncoder,
                    threads=threads,
                    show_progress=show_progress,
                )
                for file in files:
                    try:
                        report = verify(file, vectors, threads=threads, show_progress=show_progress)
                    except VectorError as error:
                        reports[file] = error
                        continue
                    # A folder of the hub's cache is named after a commit.
                    reference = replace(report.reference, name=checkpoint.name)
                    reports[file] = replace(report, reference=reference)
    except JlocalError as error:
        raise VerifyError(f"the files were written, but not verified: {error}") from error
    return reports


def check_reports(reports: Reports) -> None:
    """Check that every file gives every text a vector.

    Raises:
        VerifyError: a file does not; the message names the usable files.

    """
    unusable = [report for report in reports.values() if isinstance(report, VectorError)]
    usable = [file.name for file, report in reports.items() if not isinstance(report, VectorError)]
    if unusable:
        rest = f"use {', '.join(usable)}" if usable else "convert to BF16 or F32"
        raise VerifyError(f"the files were written, but {unusable[0]}; {rest}") from unusable[0]
