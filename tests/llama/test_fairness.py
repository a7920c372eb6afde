"""The scheduler under load: callers, priorities, long texts, cancelled calls, draining, figures."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
import pytest

from jlocal import Embedder, ModelError, Overloaded, TextError
from jlocal.llama.requests import Request, RequestGroup
from support.schedulers import (
    DEADLINE,
    Bench,
    bench_of,
    in_thread,
    wait_until,
)


def array(length: int, token: int = 5) -> np.ndarray:
    return np.full(length, token, np.int32)


@pytest.fixture
def passing(file: Path) -> Iterator[Bench]:
    """Return a bench whose requests pass between the pieces of long texts."""
    with bench_of(file, passing=True) as bench:
        yield bench


def test_a_query_is_in_the_next_batch_while_2048_documents_wait(bench: Bench) -> None:
    """Alone with a priority, and among the documents without."""
    query, second = array(12, 7), array(12, 8)
    group = bench.scheduler.submit_group([array(12)] * 2048, caller="indexer")
    bench.wait_for_batches(1)
    with_priority = bench.scheduler.submit(query, caller="searcher", priority=1)
    without = bench.scheduler.submit(second, caller="another searcher")
    done: list[int] = []
    for future in (with_priority, without):
        future.add_done_callback(lambda _: done.append(sum(r.done() for r in group.requests)))
    bench.context.gate.set()
    for future in (with_priority, without):
        assert np.isfinite(future.result(DEADLINE)).all()
    assert max(done) < 200
    assert bench.context.batches[1] == [query.tobytes()]
    assert second.tobytes() in bench.context.batches[2]
    group.cancel()


@pytest.mark.slow
def test_a_group_of_2048_has_all_its_vectors_in_order(bench: Bench, plain: Embedder) -> None:
    bench.context.gate.set()
    sequences = [array(1 + number % 3, 5 + number % 50) for number in range(2048)]
    group = bench.scheduler.submit_group(sequences, caller="a")
    vectors = np.stack(group.result())
    expected = plain._model.runtime.scheduler.submit_job(sequences[:150]).result()
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert vectors.shape == (2048, plain.profile.dimensions)
    # The sequences repeat after 150.
    assert (vectors * np.resize(expected, vectors.shape)).sum(axis=1).min() > 0.99999
    stats = bench.scheduler.stats()
    assert (stats.texts, stats.tokens) == (2048, sum(map(len, sequences)))
    assert stats.batches == len(bench.context.batches)


def test_a_long_text_is_alone_and_queries_go_before_it(bench: Bench) -> None:
    bench.scheduler.submit([5])
    bench.wait_for_batches(1)
    futures = [
        bench.scheduler.submit(array(600), caller="a"),
        bench.scheduler.submit(array(20), caller="b"),
        bench.scheduler.submit(array(30), caller="c", priority=1),
    ]
    bench.context.gate.set()
    for future in futures:
        future.result(DEADLINE)
    sizes = [[len(tokens) // 4 for tokens in batch] for batch in bench.context.batches[1:]]
    assert sizes == [[30], [600], [20]]


@pytest.mark.slow
def test_requests_pass_between_the_pieces_of_a_long_text(passing: Bench, plain: Embedder) -> None:
    """One batch of them before each piece; all get the bits that they would get alone."""
    lone = plain._model.runtime.scheduler
    long, queries = array(1500), [array(300, token) for token in (6, 7, 8, 9)]
    batches: list[tuple[int, int]] = []
    passing.scheduler.on_batch = lambda texts, tokens, _seconds: batches.append((texts, tokens))
    first = passing.scheduler.submit(long)
    passing.wait_for_batches(1)
    others = [passing.scheduler.submit(query) for query in queries]
    another_long = passing.scheduler.submit(long)
    passing.context.gate.set()
    for future, tokens in zip([first, *others, another_long], [long, *queries, long], strict=True):
        assert np.array_equal(future.result(DEADLINE), lone.submit(tokens).result())
    assert batches == [(1, 300)] * 3 + [(1, 1500), (1, 300), (1, 1500)]
    stats = passing.scheduler.stats()
    assert (stats.batches, stats.texts, stats.tokens) == (6, 6, 4200)


@pytest.mark.slow
def test_requests_pass_between_the_pieces_of_a_long_text_of_a_job(passing: Bench) -> None:
    job = passing.scheduler.submit_job([array(1500)])
    passing.wait_for_batches(1)
    order: list[str] = []
    query = passing.scheduler.submit(array(10))
    query.add_done_callback(lambda _: order.append("query"))
    passing.scheduler.on_batch = lambda _texts, tokens, _seconds: order.append(str(tokens))
    passing.context.gate.set()
    job.result()
    assert order == ["10", "query", "1500"]


def test_what_passes_a_long_text_ends_with_it_when_the_model_is_closed(passing: Bench) -> None:
    long = passing.scheduler.submit(array(2000))
    passing.wait_for_batches(1)
    queries = [passing.scheduler.submit(array(500)) for _ in range(20)]
    closing = []

    def close(_: object) -> None:
        closing.append(in_thread(passing.scheduler.close))
        wait_until(passing.scheduler._closing.is_set)

    queries[0].add_done_callback(close)
    passing.context.gate.set()
    with pytest.raises(ModelError, match="was closed"):
        long.result(DEADLINE)
    assert np.isfinite(queries[0].result(0)).all()
    with pytest.raises(ModelError, match="was closed"):
        queries[-1].result(0)
    closing[0].join(DEADLINE)
    assert not closing[0].is_alive()


def test_a_cancelled_long_text_stops_and_what_passes_it_does_not(passing: Bench) -> None:
    long = passing.scheduler.submit(array(2000))
    passing.wait_for_batches(1)
    query = passing.scheduler.submit(array(10))
    query.add_done_callback(lambda _: long.cancel())
    passing.context.gate.set()
    with pytest.raises(CancelledError):
        long.result(DEADLINE)
    assert np.isfinite(query.result(0)).all()
    assert passing.scheduler.stats().tokens == 10


def test_a_cancelled_group_makes_room_at_once(bench: Bench) -> None:
    bench.scheduler.token_limit = 100
    bench.scheduler.submit([5])
    bench.wait_for_batches(1)
    group = bench.scheduler.submit_group([array(10)] * 50)  # nothing else waits
    assert (bench.scheduler.queued_requests, bench.scheduler.queued_tokens) == (50, 500)
    with pytest.raises(Overloaded, match="500 tokens wait, and 100 may"):
        bench.scheduler.submit_group([array(1)] * 2, caller="b", priority=1)
    assert bench.scheduler.queued_requests == 50
    group.cancel()
    assert (bench.scheduler.queued_requests, bench.scheduler.queued_tokens) == (0, 0)
    after = bench.scheduler.submit_group([array(7)] * 3)
    bench.context.gate.set()
    assert len(after.result()) == 3
    assert sum(map(len, bench.context.batches)) == 4


def test_asyncio_waits_for_a_group(bench: Bench) -> None:
    bad, good = array(3, 6), array(3, 7)
    bench.context.impossible = bad.tobytes()

    async def main() -> None:
        group = bench.scheduler.submit_group([good, array(2, 8)])
        vectors = await asyncio.wrap_future(group.future())
        assert [vector.shape for vector in vectors] == [(bench.model.profile.dimensions,)] * 2
        assert await asyncio.wrap_future(bench.scheduler.submit_group([]).future()) == []
        with pytest.raises(ModelError, match="cannot compute"):
            await asyncio.wrap_future(bench.scheduler.submit_group([bad]).future())

    bench.context.gate.set()
    asyncio.run(asyncio.wait_for(main(), DEADLINE))


def test_a_cancelled_wait_cancels_its_group(bench: Bench) -> None:
    async def main() -> None:
        waiting = asyncio.wrap_future(group.future())
        waiting.cancel()
        await asyncio.sleep(0)

    bench.scheduler.submit([5])
    bench.wait_for_batches(1)
    group = bench.scheduler.submit_group([array(10)] * 50)
    asyncio.run(main())
    assert all(request.cancelled() for request in group.requests)
    assert bench.scheduler.queued_tokens == 0


def test_a_group_may_end_in_errors_of_single_texts(plain: Embedder) -> None:
    scheduler = plain._model.runtime.scheduler
    group = RequestGroup([scheduler.submit(array(3)), scheduler.submit([])])
    vector, error = group.future().result(DEADLINE)
    assert np.isfinite(vector).all()
    assert isinstance(error, TextError)


@pytest.mark.slow
def test_draining_ends_what_waits_and_takes_nothing_new(bench: Bench) -> None:
    work = [bench.scheduler.submit(array(300), caller=number) for number in range(4)]
    job = bench.scheduler.submit_job([array(400)] * 2)
    assert not bench.scheduler.drain(0.01)
    with pytest.raises(ModelError, match="takes no more texts"):
        bench.scheduler.submit([5])
    with pytest.raises(ModelError, match="takes no more texts"):
        bench.scheduler.submit_group([array(1)])
    with pytest.raises(ModelError, match="takes no more texts"):
        bench.model.encode("x")
    drained: list[bool] = []
    draining = in_thread(lambda: drained.append(bench.scheduler.drain(DEADLINE)))
    bench.context.gate.set()
    draining.join(DEADLINE)
    assert drained == [True]
    assert all(future.done() and not future.exception() for future in work)
    assert job.result().shape[0] == 2
    assert bench.scheduler.drain(0)
    bench.scheduler.close()


def test_closing_ends_draining(bench: Bench) -> None:
    work = bench.scheduler.submit([5])
    bench.wait_for_batches(1)
    drained: list[bool] = []
    draining = in_thread(lambda: drained.append(bench.scheduler.drain(DEADLINE)))
    closing = in_thread(bench.scheduler.close)
    bench.context.gate.set()
    for thread in (draining, closing):
        thread.join(DEADLINE)
        assert not thread.is_alive()
    assert drained == [True]
    assert work.done()


def test_figures_count_what_was_computed(bench: Bench) -> None:
    seen: list[tuple[int, int, float]] = []

    def on_batch(texts: int, tokens: int, seconds: float) -> None:
        seen.append((texts, tokens, seconds))
        raise ValueError("a callback must not fail the texts")

    bench.scheduler.on_batch = on_batch
    bench.context.impossible = array(9, 6).tobytes()
    bench.context.gate.set()
    bench.scheduler.submit_job([array(500), array(300), array(200)]).result()
    bench.scheduler.submit(array(7)).result(DEADLINE)
    with pytest.raises(ModelError):
        bench.scheduler.submit(array(9, 6)).result(DEADLINE)
    wait_until(lambda: bench.scheduler.queued_requests == 0)
    assert [figures[:2] for figures in seen] == [(1, 500), (2, 500), (1, 7)]
    assert min(figures[2] for figures in seen) > 0
    stats = bench.scheduler.stats()
    assert (stats.batches, stats.texts, stats.tokens) == (3, 4, 1007)
    assert stats.seconds == pytest.approx(sum(figures[2] for figures in seen))


@pytest.mark.slow
def test_every_future_ends_while_threads_submit_and_cancel(plain: Embedder) -> None:
    scheduler = plain._model.runtime.scheduler

    def client(number: int) -> list[Request]:
        random = np.random.default_rng(number)
        requests: list[Request] = []
        for _ in range(40):
            sequences = [array(length) for length in random.integers(1, 40, random.integers(1, 9))]
            if random.random() < 0.05:
                sequences.append(array(700))
            priority = int(random.integers(2))
            group = scheduler.submit_group(sequences, caller=number % 3, priority=priority)
            chosen = random.random(len(group.requests)) < random.choice([0, 0.3, 1])
            for request in itertools.compress(group.requests, chosen):
                request.cancel()
            requests += group.requests
        return requests

    with ThreadPoolExecutor(8) as pool:
        requests = [*itertools.chain(*pool.map(client, range(8)))]
    done, left = wait(requests, DEADLINE)
    assert not left
    for request in requests:
        wanted = not request.is_unwanted
        ended = not request.cancelled() and request.exception() is None
        assert ended or not wanted
    assert any(request.cancelled() for request in done)
    assert (scheduler.queued_requests, scheduler.queued_tokens) == (0, 0)
