"""Files beside the checkpoint that they were made from: what each has lost."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from convert.checkpoint import Checkpoint
from jlocal.errors import JlocalError, VerifyError

if TYPE_CHECKING:
    from jlocal.verify import Report

Reports: TypeAlias = "Mapping[Path, Report]"

# jlocal.verify brings llama.cpp, so it is imported where it is used.


def need_packages() -> None:
    """Refuse to verify without the packages that compute a checkpoint.

    Raises:
        ExtraError: some are not installed.

    """
    from jlocal.verify import checkpoint

    checkpoint.need_packages()


def verify_files(
    checkpoint: Checkpoint,
    tasks: Mapping[str | None, Sequence[Path]],
    *,
    threads: int,
    show_progress: bool,
) -> dict[Path, Report]:
    """Compare files with the checkpoint, computed in float32 by transformers and PEFT.

    Args:
        checkpoint: what they were made from.
        tasks: task to its files.
        threads: CPU threads.
        show_progress: show texts done, rate and time left on stderr.

    Raises:
        VerifyError: the files are there, but could not be compared.

    """
    from jlocal.verify import store, verify

    reports: dict[Path, Report] = {}
    try:
        with tempfile.TemporaryDirectory(prefix="jlocal-") as folder:
            for task, files in tasks.items():
                # The checkpoint is slow: it is computed once for all files of a task.
                vectors = Path(folder) / "reference.npz"
                store(
                    checkpoint.folder,
                    vectors,
                    task=task,
                    threads=threads,
                    show_progress=show_progress,
                )
                for file in files:
                    found = verify(file, vectors, threads=threads, show_progress=show_progress)
                    # A folder of the hub's cache is named after a commit.
                    reference = replace(found.reference, name=checkpoint.name)
                    reports[file] = replace(found, reference=reference)
    except JlocalError as error:
        raise VerifyError(f"the files were written, but not verified: {error}") from error
    return reports
