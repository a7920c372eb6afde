"""Batches side by side on several contexts: the same bits, and the same rules as on one."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from jlocal import Embedder, ModelError
from jlocal.gguf.header import read_header
from jlocal.llama.context import Context
from jlocal.llama.job import Job
from jlocal.llama.planning import even_shares
from jlocal.llama.request_queue import RequestQueue
from jlocal.llama.requests import Request
from jlocal.llama.run_queue import RunQueue, lengths_of
from jlocal.llama.scheduler import Scheduler
from jlocal.llama.side_by_side import SideBySide, choose_side_by_side
from support.schedulers import BUDGET, DEADLINE, GatedContext, cosine, in_thread, wait_until


def array(length: int, token: int = 5) -> np.ndarray:
    return np.full(length, token, np.int32)


def sequences(count: int) -> list[np.ndarray]:
    """Sequences of many lengths, all different, a few of them above the budget of a batch."""
    random = np.random.default_rng(0)
    lengths = random.integers(2, 60, count)
    lengths[:: count // 2] = 600
    return [random.integers(5, 500, length, dtype=np.int32) for length in lengths]


class Several:
    """A scheduler over a context with all threads, and two that compute side by side."""

    def __init__(self, model: Embedder) -> None:
        runtime = model._model.runtime

        def gated() -> GatedContext:
            return GatedContext(Context(runtime.model, 1, capture=True, token_budget=BUDGET))

        self.all, self.singles = gated(), [gated(), gated()]
        self.scheduler = Scheduler(
            runtime.model, self.all, singles=self.singles, lone_tokens=20, least_share=15
        )

    def open(self) -> None:
        for context in (self.all, *self.singles):
            context.gate.set()

    def running(self) -> list[int]:
        """How many batches each context has begun; that with all threads comes first."""
        return [len(context.batches) for context in (self.all, *self.singles)]

    def wait_for(self, *running: int) -> None:
        wait_until(lambda: self.running() == [*running])


@pytest.fixture
def several(plain: Embedder) -> Iterator[Several]:
    several = Several(plain)
    yield several
    several.open()
    several.scheduler.close()


class Kept(dict):
    """A cache that may be called by several threads."""

    def recall(self, batch: Sequence[np.ndarray]) -> np.ndarray | None:
        return self.get(tuple(tokens.tobytes() for tokens in batch))

    def keep(self, batch: Sequence[np.ndarray], vectors: np.ndarray) -> None:
        self[tuple(tokens.tobytes() for tokens in batch)] = vectors.copy()


def test_a_job_has_the_same_bits_with_any_number_of_threads(file: Path, plain: Embedder) -> None:
    inputs = sequences(80)
    expected = plain._model.runtime.scheduler.submit_job(inputs).result()
    for threads in (2, 3):
        with Embedder(file, threads=threads) as model:
            scheduler = model._model.runtime.scheduler
            assert len(scheduler._workers) == threads
            cache = Kept()
            jobs = [scheduler.submit_job(inputs, cache), scheduler.submit_job(inputs[::-1])]
            assert np.array_equal(jobs[0].result(), expected)
            assert np.isfinite(jobs[1].result()).all()
            stats = scheduler.stats()
            assert (stats.texts, stats.tokens) == (160, 2 * sum(map(len, inputs)))
            # Another run, of which half the batches were kept.
            job = scheduler.submit_job(inputs, Kept(list(cache.items())[::2]))
            assert np.array_equal(job.result(), expected)
            assert 0 < len(job.recalled) < len(inputs)


def test_batches_for_all_workers_are_computed_side_by_side(several: Several) -> None:
    inputs = [array(400, token) for token in range(5, 12)]
    job = several.scheduler.submit_job(inputs)
    several.wait_for(0, 1, 1)
    several.open()
    assert np.isfinite(job.result()).all()
    assert sum(several.running()) == 7


def test_a_lone_batch_has_all_threads_unless_it_is_tiny(several: Several) -> None:
    several.open()
    for tokens, running in ((20, [0, 1, 0]), (21, [1, 1, 0]), (512, [2, 1, 0])):
        assert np.isfinite(several.scheduler.submit(array(tokens)).result(DEADLINE)).all()
        assert several.running() == running
        wait_until(several.scheduler._all_sleep)


@pytest.mark.slow
def test_long_texts_have_all_threads(several: Several) -> None:
    """What is short is computed side by side, before and after them."""
    job = several.scheduler.submit_job([array(900), array(800), *[array(400)] * 6])
    several.wait_for(1, 0, 0)
    assert not several.singles[1].batches
    several.open()
    assert np.isfinite(job.result()).all()
    assert [len(batch[0]) // 4 for batch in several.all.batches[:2]] == [900, 800]
    assert sum(several.running()) == 8


def test_the_texts_of_threads_make_a_batch_for_each_worker(
    several: Several, plain: Embedder
) -> None:
    """32 threads with a text each make two even batches."""
    texts = [plain.tokenize(f"the quick brown fox jumps over {n}") for n in range(32)]
    first = several.scheduler.submit(array(12))
    several.wait_for(0, 1, 0)
    with ThreadPoolExecutor(32) as pool:
        futures = [
            pool.submit(lambda tokens: several.scheduler.submit(tokens).result(DEADLINE), tokens)
            for tokens in texts
        ]
        wait_until(lambda: several.scheduler.queued_requests == 32)
        assert several.running() == [0, 1, 0]  # they wait for what may still come
        several.open()
        vectors = [future.result(DEADLINE) for future in futures]
    first.result(DEADLINE)
    contexts = (several.all, *several.singles)
    shares = [batch for context in contexts for batch in context.batches if len(batch) > 1]
    assert sum(several.running()) == 3
    sizes = [sum(len(tokens) // 4 for tokens in share) for share in shares]
    assert abs(sizes[0] - sizes[1]) <= max(map(len, texts))
    scheduler = plain._model.runtime.scheduler
    for tokens, vector in zip(texts, vectors, strict=True):
        assert cosine(vector, scheduler.submit(tokens).result()) > 0.99999


def test_threads_that_call_at_once_do_not_make_a_batch_each(
    several: Several, plain: Embedder
) -> None:
    """Nor does anything begin beside running batches that would not be full."""
    texts = [plain.tokenize(f"the quick brown fox jumps over {n}") for n in range(32)]
    with ThreadPoolExecutor(32) as pool:
        futures = [
            pool.submit(lambda tokens: several.scheduler.submit(tokens).result(DEADLINE), tokens)
            for tokens in texts
        ]
        contexts = (several.all, *several.singles)

        def begun() -> int:
            return sum(len(batch) for context in contexts for batch in context.batches)

        wait_until(lambda: begun() + several.scheduler.queued_requests == 32)
        running = several.running()
        assert sum(running) <= 2
        left = several.scheduler.queued_requests
        several.open()
        for future in futures:
            assert np.isfinite(future.result(DEADLINE)).all()
    assert sum(several.running()) <= sum(running) + min(2, left)


def test_a_small_batch_is_not_shared_out(several: Several) -> None:
    first = several.scheduler.submit(array(12))
    several.wait_for(0, 1, 0)
    futures = [several.scheduler.submit(array(12, token)) for token in (6, 7)]
    several.open()
    for future in (first, *futures):
        assert np.isfinite(future.result(DEADLINE)).all()
    assert sum(several.running()) == 2


def test_the_texts_of_one_call_have_the_same_bits_beside_idle_workers(
    several: Several, plain: Embedder
) -> None:
    several.open()
    inputs = [array(12, token) for token in range(5, 37)]
    vectors = np.stack(several.scheduler.submit_group(inputs).result())
    assert sum(several.running()) == 1
    expected = plain._model.runtime.scheduler.submit_job(inputs).result()
    assert np.array_equal(vectors, expected)


def test_a_bad_text_in_a_share_fails_alone(several: Several) -> None:
    bad = array(12, 9)
    for context in (several.all, *several.singles):
        context.impossible = bad.tobytes()
    first = several.scheduler.submit(array(12))
    several.wait_for(0, 1, 0)
    failing = several.scheduler.submit(bad)
    others = [several.scheduler.submit(array(12, token)) for token in range(10, 20)]
    several.open()
    with pytest.raises(ModelError, match="cannot compute this"):
        failing.result(DEADLINE)
    for future in (first, *others):
        assert np.isfinite(future.result(DEADLINE)).all()


def test_a_share_that_waits_is_failed_when_the_model_is_closed() -> None:
    waiting = RequestQueue(BUDGET, None)
    requests = [Request(array(length)) for length in (30, 20, 20, 10)]
    waiting.add(requests)
    queue = RunQueue(waiting, least_share=15)
    task = queue.take(idle=2)
    assert task is not None
    assert lengths_of(task) == [30, 10]
    assert queue.shares == queue.short_batches() == 1
    queue.done(task)
    assert queue.drain() == (requests[1:3], [])
    assert not queue
    assert queue.take() is None


def test_work_for_other_workers_leaves_a_batch_whole(plain: Embedder) -> None:
    waiting = RequestQueue(BUDGET, None)
    waiting.add([Request(array(length)) for length in (30, 20)])
    queue = RunQueue(waiting, least_share=15)
    queue.add(Job([array(400)], plain.profile.dimensions, BUDGET, None))
    task = queue.take(idle=2)
    assert task is not None
    assert lengths_of(task) == [30, 20]
    assert queue.shares == 0


def test_shares_are_even_in_tokens() -> None:
    assert even_shares([9, 5, 4, 1], 2) == [[0, 3], [1, 2]]
    assert even_shares([3, 2], 5) == [[0], [1]]
    assert even_shares([3, 2], 0) == [[0, 1]]


def test_a_full_batch_of_requests_begins_beside_another(several: Several) -> None:
    first = several.scheduler.submit(array(12))
    several.wait_for(0, 1, 0)
    others = [several.scheduler.submit(array(300)), several.scheduler.submit(array(211))]
    assert several.scheduler.queued_requests == 2  # one token is lacking
    assert several.running() == [0, 1, 0]
    others.append(several.scheduler.submit(array(1)))
    several.wait_for(0, 1, 1)
    assert several.scheduler.queued_requests == 0
    several.open()
    for future in (first, *others):
        assert np.isfinite(future.result(DEADLINE)).all()


def test_a_request_does_not_wait_for_a_job_while_a_worker_is_free(several: Several) -> None:
    job = several.scheduler.submit_job([array(400)] * 2)
    several.wait_for(0, 1, 1)
    several.singles[0].gate.set()
    query = several.scheduler.submit(array(12))
    assert np.isfinite(query.result(DEADLINE)).all()
    assert several.running() == [0, 2, 1]
    several.open()
    job.result()


@pytest.mark.slow
def test_jobs_share_the_contexts(several: Several) -> None:
    """A job that comes second gets the next free context, though the first has batches left."""
    first = several.scheduler.submit_job([array(500)] * 6)
    several.wait_for(0, 1, 1)
    second = several.scheduler.submit_job([array(400)] * 3)
    several.singles[0].gate.set()
    assert np.isfinite(second.result()).all()
    order = [len(batch[0]) // 4 for batch in several.singles[0].batches]
    assert order[:4] == [500, 400, 400, 400]
    several.open()
    assert np.isfinite(first.result()).all()


def test_an_error_in_one_context_fails_its_job_alone(several: Several) -> None:
    bad = array(450, 9)
    for context in several.singles:
        context.impossible = bad.tobytes()
    failing = several.scheduler.submit_job([bad, *[array(400)] * 100])
    other = several.scheduler.submit_job([array(300)] * 5)
    several.open()
    with pytest.raises(ModelError, match="cannot compute this"):
        failing.result()
    assert np.isfinite(other.result()).all()
    assert np.isfinite(several.scheduler.submit(array(9)).result(DEADLINE)).all()
    assert sum(several.running()) < 50  # the rest of the job is not computed


def test_a_cancelled_job_stops_on_all_contexts(several: Several) -> None:
    job = several.scheduler.submit_job([array(400, token) for token in range(5, 105)])
    several.wait_for(0, 1, 1)
    job.cancel()
    several.open()
    assert np.isfinite(several.scheduler.submit(array(9)).result(DEADLINE)).all()
    assert several.scheduler.drain(DEADLINE)
    assert several.scheduler.stats().texts == 1
    assert sum(several.running()) <= 5


def test_closing_stops_all_that_is_computed(several: Several) -> None:
    job = several.scheduler.submit_job([array(400, token) for token in range(5, 50)])
    several.wait_for(0, 1, 1)
    waiting = several.scheduler.submit(array(9))
    closing = in_thread(several.scheduler.close)
    with pytest.raises(ModelError, match="closed before the vectors were ready"):
        waiting.result(DEADLINE)
    several.open()
    with pytest.raises(ModelError, match="closed before the vectors were ready"):
        job.result()
    closing.join(DEADLINE)
    assert not closing.is_alive()
    assert sum(several.running()) == 2
    with pytest.raises(ModelError, match="is closed"):
        several.scheduler.submit(array(9))


def test_draining_waits_for_all_contexts(several: Several) -> None:
    job = several.scheduler.submit_job([array(400)] * 2)
    several.wait_for(0, 1, 1)
    several.singles[0].gate.set()
    assert not several.scheduler.drain(0.05)
    with pytest.raises(ModelError, match="takes no more texts"):
        several.scheduler.submit(array(9))
    several.open()
    assert several.scheduler.drain(DEADLINE)
    assert len(job.result()) == 2


def test_batches_are_reported_one_at_a_time(several: Several) -> None:
    inside = threading.Lock()
    seen: list[tuple[int, int]] = []

    def on_batch(texts: int, tokens: int, seconds: float) -> None:
        assert inside.acquire(blocking=False)
        assert seconds > 0
        seen.append((texts, tokens))
        threading.Event().wait(0.002)
        inside.release()

    several.scheduler.on_batch = on_batch
    several.open()
    several.scheduler.submit_job([array(300)] * 30).result()
    assert several.scheduler.drain(DEADLINE)
    assert seen == [(1, 300)] * 30


@pytest.mark.slow
def test_no_thread_is_left_of_several(file: Path) -> None:
    before = set(threading.enumerate())
    model = Embedder(file, threads=3)
    job = model._model.runtime.scheduler.submit_job([array(300)] * 12)
    job.result()
    assert len(set(threading.enumerate()) - before) == 3
    model.close()
    assert set(threading.enumerate()) <= before


def test_only_small_models_on_several_threads_have_contexts_for_each(file: Path) -> None:
    header = read_header(file)
    assert choose_side_by_side(header, 1) == SideBySide()
    chosen = choose_side_by_side(header, 4)
    assert chosen.contexts == 4
    assert 12 <= chosen.lone_tokens < 512
    assert 25 <= chosen.least_share < 100
