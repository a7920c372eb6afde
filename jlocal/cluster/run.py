"""A job, or one part of it, in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from jlocal.cluster.job import Job, Plan
from jlocal.cluster.worker import Outcome, Worker
from jlocal.embed.options import ComputeOptions
from jlocal.models import names

OnOutcome = Callable[[Outcome], None]


@dataclass
class Summary:
    """The result of a run.

    Attributes:
        texts: number of texts with a vector.
        errors: number of texts with an error.
        tokens: number of computed tokens.
        failures: the shards that could not be read, and why.
        first_error: id and reason of a text with an error.

    """

    texts: int = 0
    errors: int = 0
    tokens: int = 0
    failures: list[str] = field(default_factory=list)
    first_error: str = ""

    def add(self, outcome: Outcome) -> None:
        """Count a shard."""
        self.texts += outcome.texts
        self.errors += outcome.errors
        self.tokens += outcome.tokens
        self.first_error = self.first_error or outcome.first_error
        if outcome.failure:
            self.failures.append(outcome.failure)


def run_part(
    job: Job,
    plan: Plan,
    part: tuple[int, int] = (1, 1),
    compute: ComputeOptions | None = None,
    on_outcome: OnOutcome | None = None,
) -> Summary:
    """Compute one of n parts of the unfinished shards, in this process.

    The part of a shard depends only on its name, so that processes that start at different times,
    for example by Slurm or Kubernetes, share a job without knowing of each other.

    Args:
        job: the job.
        plan: of `plan`.
        part: (i, n): the i-th of n parts, from 1.
        compute: threads and layers on the GPU.
        on_outcome: called after each shard.

    Raises:
        ModelError: the model cannot be loaded, or cannot compute.
        OutputError: the output cannot be written.

    """
    compute = compute or ComputeOptions()
    number, parts = part
    mine = [task for task in plan.tasks if _slot(task.name, job.shard_rows, parts) == number - 1]
    if not mine:
        return Summary()
    model = names.resolve(job.model)
    with Worker(job, model, compute.threads, compute.gpu_layers) as worker:
        summary = Summary()
        for task in mine:
            outcome = worker.run(task)
            summary.add(outcome)
            if on_outcome:
                on_outcome(outcome)
        return summary


def _slot(name: str, rows: int, parts: int) -> int:
    _, file, first = name.removesuffix(".parquet").split("-")
    return (int(file) + int(first) // rows) % parts
