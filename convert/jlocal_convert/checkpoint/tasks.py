"""The choice of the adapters that a run converts."""

from __future__ import annotations

from collections.abc import Sequence

from jlocal.errors import CheckpointError
from jlocal.models.catalogue import TASKS
from jlocal_convert.checkpoint.folder import Checkpoint


def choose_tasks(checkpoint: Checkpoint, asked: Sequence[str] | None) -> list[str | None]:
    """Return the tasks of a run.

    Args:
        checkpoint: the checkpoint of the adapters.
        asked: names of tasks, or "all" for every adapter. None chooses retrieval, or the task of
            a merged checkpoint.

    Returns:
        Names without repetition; [None] for a merged checkpoint that does not name its task.

    Raises:
        CheckpointError: there is no such adapter, or a merged checkpoint holds another task.

    """
    if not checkpoint.adapters:
        return [_merged_task(checkpoint, asked)]
    requested = ("retrieval",) if asked is None else tuple(dict.fromkeys(asked))
    if requested == ("all",):
        return list(checkpoint.adapters)
    if not requested:
        raise CheckpointError(f"no task was named; choose from {', '.join(checkpoint.adapters)}")
    for task in requested:
        if task not in checkpoint.adapters:
            there = ", ".join(checkpoint.adapters)
            problem = "there is no adapter for" if task in TASKS else "there is no task"
            raise CheckpointError(
                f"{checkpoint.folder}: {problem} {task!r}; there are {there}",
                path=checkpoint.folder,
            )
    return list(requested)


def _merged_task(checkpoint: Checkpoint, asked: Sequence[str] | None) -> str | None:
    named = checkpoint.merged_task
    if asked is None:
        return named
    if len(asked) != 1 or asked[0] == "all":
        raise CheckpointError(
            f"{checkpoint.folder} has no adapters folder: it holds one task, merged already; "
            "name that task, or give the base checkpoint",
            path=checkpoint.folder,
        )
    task = asked[0]
    if task not in TASKS:
        raise CheckpointError(f"there is no task {task!r}; there are {', '.join(TASKS)}")
    if named is not None and named != task:
        raise CheckpointError(
            f"{checkpoint.folder} has no adapter for {task!r}: by its name, it is merged with "
            f"{named}; give the base checkpoint",
            path=checkpoint.folder,
        )
    return task
