"""Ray: a job on the nodes of a cluster, and vectors as a column of a Ray Dataset."""

from __future__ import annotations

import logging
import os
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jlocal import extras
from jlocal.cluster.job import Job, Plan, Task, new_job, sweep
from jlocal.cluster.nodes import Room, Workers, model_here
from jlocal.cluster.run import OnOutcome, Summary
from jlocal.cluster.worker import Outcome, Worker
from jlocal.embed.options import EncodeOptions
from jlocal.errors import ClusterError, JlocalError, ModelError
from jlocal.inputs.corpus import checked_text
from jlocal.llama.threads import default_threads
from jlocal.terms import Message, terms_of

with extras.importing("ray", "Ray needs"):
    import ray
    import ray.data
    import ray.util.scheduling_strategies

if TYPE_CHECKING:
    from jlocal.embed.embedder import OnLong

# How many actors may die with one shard.
_TRIES = 4
_BATCH = 1024
# Bytes of a model that one node sends to another at a time.
_PIECE = 16 << 20


def start(address: str | None = None) -> None:
    """Connect to a cluster, or start Ray on this machine alone, unless Ray is already initialised.

    Ray's usage statistics are switched off.

    Args:
        address: of the cluster, "auto" on one of its nodes; None starts Ray here.

    Raises:
        ClusterError: there is no cluster at this address.

    """
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    for is_last in (False, True):
        try:
            ray.init(
                address=address or "local",
                include_dashboard=None if address else False,
                logging_level=logging.WARNING,
            )
            return
        except Exception as error:  # Ray raises Exception itself
            # On a busy machine Ray's processes may take longer to start than Ray waits.
            if is_last or address:
                reason = " ".join(str(error).split())[:200]
                what = f"connect to Ray at {address}" if address else "start Ray"
                raise ClusterError(f"cannot {what}: {reason}") from error
            ray.shutdown()


def embed_files(
    job: Job,
    plan: Plan,
    workers: Workers | None = None,
    on_outcome: OnOutcome | None = None,
) -> Summary:
    """Compute the shards of a job that are not done, on the cluster that Ray is connected to.

    A shard whose actor or node dies is computed again by another actor. If this process dies, the
    next run with the same job computes the remaining shards.

    Args:
        job: of `jlocal.cluster.job.new_job`.
        plan: of `jlocal.cluster.job.plan`.
        workers: the number of actors, and the resources of each; None decides by the cluster.
        on_outcome: called after each shard.

    Raises:
        ArgumentError: the cluster has no room for these actors.
        ClusterError: the model is on no node and cannot be fetched, or actors die again and again.
        OutputError: the output cannot be written.

    """
    start()
    if not plan.tasks:
        return Summary()
    placed = (workers or Workers()).placed(_rooms(), most=len(plan.tasks))
    home = _home(job)
    actors = _Actors(job, home, placed)
    summary = Summary()
    try:
        for outcome in actors.outcomes(deque(plan.tasks)):
            summary.add(outcome)
            if on_outcome:
                on_outcome(outcome)
    except ray.exceptions.RayError as error:
        reason = " ".join(str(error).split())[:300]
        raise ClusterError(f"Ray ended the job; what is finished is kept: {reason}") from error
    finally:
        actors.end()
    sweep(job)
    return summary


def embed(
    dataset: Any,
    model: str | Path | None = None,
    *,
    text: str = "text",
    vector: str = "vector",
    error: str = "error",
    options: EncodeOptions | None = None,
    on_long: OnLong = "error",
    workers: Workers | None = None,
) -> Any:
    """Add a column of vectors, and one of errors, to a Ray Dataset.

    A text that cannot be embedded gets an error in place of a vector, and the job goes on.

    Args:
        dataset: a `ray.data.Dataset`.
        model: as in `Embedder`.
        text: the column of texts.
        vector: the new column, a list of fixed size.
        error: the new column; null where there is a vector.
        options: prompt, dimensions and precision; the prompt is that for documents by default.
        on_long: as in `Embedder`.
        workers: the number of actors, and the resources of each. By default each node has
            one, which leaves a CPU to the other steps.

    Raises:
        ArgumentError: the model has no such prompt or dimension, or there is no room.
        ModelError: the model cannot be found or loaded.

    """
    start()
    job = new_job("", "", model, options=options, on_long=on_long)
    placed = (workers or Workers()).placed(_rooms(), spare=1)
    home = _home(job)
    return dataset.map_batches(
        _ColumnActor,
        fn_constructor_args=(job, home, placed, (text, vector, error)),
        batch_size=_BATCH,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=placed.actors),
        num_cpus=placed.cpus,
        num_gpus=placed.gpus,
    )


def _rooms() -> list[Room]:
    return [
        Room(node["Resources"].get("CPU", 0), node["Resources"].get("GPU", 0))
        for node in ray.nodes()
        if node["Alive"]
    ]


class _Actors:
    """The actors of a job. Each has one shard at a time; that of a dead actor goes to another.

    A dead actor is replaced. The new one may wait for ever for room, so no shard waits for it.
    """

    def __init__(self, job: Job, home: Any, placed: Workers) -> None:
        self._kind = ray.remote(_ShardActor).options(num_cpus=placed.cpus, num_gpus=placed.gpus)
        self._arguments = (job, home, placed)
        # The last request to each actor: a task, or None for whether it is ready.
        self._asked: dict[Any, tuple[Any, Task | None]] = {}
        self._idle: list[Any] = []
        self._tries = Counter[str]()
        self._lost = 0
        for _ in range(placed.actors or 1):
            self._begin()

    def _begin(self) -> None:
        actor = self._kind.remote(*self._arguments)
        self._asked[actor.failure.remote()] = actor, None

    def outcomes(self, tasks: deque[Task]) -> Iterator[Outcome]:
        """Yield the outcomes of all tasks as they come."""
        while tasks or any(task for _, task in self._asked.values()):
            while tasks and self._idle:
                actor, task = self._idle.pop(), tasks.popleft()
                self._asked[actor.run.remote(task)] = actor, task
            (done, *_), _ = ray.wait([*self._asked])
            actor, asked = self._asked.pop(done)
            try:
                answer = ray.get(done)
            except ray.exceptions.RayActorError:
                yield from self._bury(asked, tasks)
                continue
            if isinstance(answer, str) and answer:
                raise ClusterError(answer)
            self._idle.append(actor)
            self._lost = 0
            if isinstance(answer, Outcome):
                yield answer

    def _bury(self, task: Task | None, tasks: deque[Task]) -> Iterator[Outcome]:
        """Replace a dead actor, and give its shard to another, but not for ever."""
        self._lost += 1
        if self._lost > _TRIES * 4:
            raise ClusterError(
                "actors die again and again; what is finished is kept; see Ray's logs"
            )
        self._begin()
        if task is None:
            return
        self._tries[task.name] += 1
        if self._tries[task.name] < _TRIES:
            tasks.appendleft(task)
        else:
            failure = f"{task.name}: its worker died {_TRIES} times; see Ray's logs, and run again"
            yield Outcome(task.name, failure=failure)

    def end(self) -> None:
        """End all actors."""
        for actor in [*self._idle, *(actor for actor, _ in self._asked.values())]:
            ray.kill(actor)


class _Home:
    """An actor on the node that started the job, from which other actors fetch the model."""

    def __init__(self, model: Path) -> None:
        self._model = model

    def read(self, offset: int) -> bytes:
        """Read a piece of the model's file; none at its end."""
        with self._model.open("rb") as file:
            file.seek(offset)
            return file.read(_PIECE)


def _home(job: Job) -> Any:
    node = ray.get_runtime_context().get_node_id()
    strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)
    home = ray.remote(_Home).options(num_cpus=0, scheduling_strategy=strategy)
    return home.remote(model_here(job.model, job.model_sha256))


class _Opened:
    """A worker that an actor opens; if that fails, each batch reports why."""

    def __init__(self, job: Job, home: Any, placed: Workers) -> None:
        self.failure = ""
        self.worker: Worker | None = None
        threads = max(1, min(int(placed.cpus or 1), default_threads()))
        try:
            model = model_here(
                job.model,
                job.model_sha256,
                lambda offset: bytes(ray.get(home.read.remote(offset))),
            )
            self.worker = Worker(job, model, threads, None if placed.gpus else 0)
        except JlocalError as error:
            self.failure = Message(f"{_node()}: {error}", *terms_of(error.message))
        except OSError as error:
            self.failure = f"{_node()}: {error}"


def _node() -> str:
    import ray

    return f"node {ray.util.get_node_ip_address()}"


class _ShardActor:
    """Computes shards of a job."""

    def __init__(self, job: Job, home: Any, placed: Workers) -> None:
        self._opened = _Opened(job, home, placed)

    def failure(self) -> str:
        """Return why this actor can compute nothing; "" if it can."""
        return self._opened.failure

    def run(self, task: Task) -> Outcome | str:
        """Compute a shard; return a str with the reason if the job must end."""
        assert self._opened.worker
        try:
            return self._opened.worker.run(task)
        except JlocalError as error:
            return error.message


class _ColumnActor:
    """Adds vectors and errors to tables."""

    def __init__(self, job: Job, home: Any, placed: Workers, columns: tuple[str, str, str]) -> None:
        self._job, self._columns = job, columns
        self._opened = _Opened(job, home, placed)

    def __call__(self, table: Any) -> Any:
        import pyarrow

        worker, (text, vector, error) = self._opened.worker, self._columns
        if worker is None:
            raise ModelError(self._opened.failure)
        rows = worker.rows()
        for index, value in enumerate(table.column(text).to_pylist()):
            rows.add(checked_text(str(index), value))
        rows.compute()
        table = table.append_column(vector, rows.vector_column())
        return table.append_column(error, pyarrow.array(rows.errors, pyarrow.string()))
