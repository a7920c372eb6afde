"""The scheduler: what shares a batch, what fails alone, who waits for whom, and how it ends."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from jlocal import Embedder, ModelError, Overloaded, TextError, TextTooLongError
from jlocal.llama.context import Context
from jlocal.llama.planning import SEQUENCE_LIMIT, plan_batches
from support.interrupts import interrupt_before_wait, main_thread_waits
from support.schedulers import BUDGET, DEADLINE, Bench, cosine, in_thread, wait_until


def sequences(model: Embedder, count: int) -> list[np.ndarray]:
    """Sequences of many lengths, some of them above the budget of a batch."""
    lengths = np.random.default_rng(0).integers(1, 30, count)
    lengths[:: count // 2] = 600
    return [model.tokenize("word " * int(n) + str(i)) for i, n in enumerate(lengths)]


@pytest.mark.slow
def test_a_job_is_what_its_planned_batches_are(plain: Embedder) -> None:
    """Bit for bit, whatever else is computed between its batches."""
    inputs = sequences(plain, 90)
    runtime = plain._model.runtime
    expected = np.empty((len(inputs), plain.profile.dimensions), np.float32)
    context = Context(runtime.model, 1, capture=True, token_budget=BUDGET)
    for batch in plan_batches([*map(len, inputs)], BUDGET, 64):
        expected[batch] = context.embed([inputs[i] for i in batch], lambda: False)
    context.close()
    assert np.array_equal(runtime.scheduler.submit_job(inputs).result(), expected)
    job = runtime.scheduler.submit_job(inputs)
    other = runtime.scheduler.submit_job(inputs[::-1])
    futures = [runtime.scheduler.submit(tokens) for tokens in inputs[:20]]
    assert np.array_equal(job.result(), expected)
    other.result()
    for future, vector in zip(futures, expected, strict=False):
        assert cosine(future.result(), vector) > 0.99999


@pytest.mark.slow
def test_a_job_asks_its_cache_for_whole_batches(plain: Embedder) -> None:
    class Kept(dict):
        def recall(self, batch: Sequence[np.ndarray]) -> np.ndarray | None:
            return self.get(tuple(tokens.tobytes() for tokens in batch))

        def keep(self, batch: Sequence[np.ndarray], vectors: np.ndarray) -> None:
            self[tuple(tokens.tobytes() for tokens in batch)] = vectors.copy()

    inputs, cache = sequences(plain, 90), Kept()
    scheduler = plain._model.runtime.scheduler
    expected = scheduler.submit_job(inputs, cache).result()
    batches = list(plan_batches([*map(len, inputs)], BUDGET, 64))
    assert list(cache) == [tuple(inputs[i].tobytes() for i in batch) for batch in batches]
    first = next(iter(cache))
    cache = Kept({first: cache[first]})
    job = scheduler.submit_job(inputs, cache)
    assert np.array_equal(job.result(), expected)
    assert job.recalled == set(batches[0])
    assert len(cache) == len(batches)


@pytest.mark.slow
def test_a_call_that_is_alone_gets_the_bits_of_a_job(plain: Embedder) -> None:
    texts = [f"{'word ' * (number % 7)}number {number}" for number in range(30)]
    assert np.array_equal(plain.encode(texts), np.stack(list(plain.stream(texts))))
    long = "word " * 900
    assert np.array_equal(plain.encode(long), next(plain.stream([long])))


def test_threads_share_batches(bench: Bench, plain: Embedder) -> None:
    """32 threads with a text each make two batches: the first text, and all others."""
    texts = [f"the quick brown fox jumps over {number}" for number in range(32)]
    with ThreadPoolExecutor(32) as pool:
        futures = [pool.submit(bench.model.encode, text) for text in texts]
        bench.wait_for_batches(1)
        first = len(bench.context.batches[0])
        wait_until(lambda: first + bench.scheduler.queued_requests == 32)
        bench.context.gate.set()
        vectors = np.stack([future.result(DEADLINE) for future in futures])
    assert [len(batch) for batch in bench.context.batches] == [first, 32 - first][
        : 1 + (first < 32)
    ]
    alone = np.stack([plain.encode(text) for text in texts])
    assert (vectors * alone).sum(axis=1).min() >= 0.99999


def test_a_batch_waits_for_texts_that_are_prepared(bench: Bench) -> None:
    """Unless it takes them longer than a batch may wait, as on a busy machine."""
    bench.context.gate.set()
    for _ in range(100):
        bench.context.batches.clear()
        with bench.scheduler.preparing():
            first = bench.scheduler.submit([1, 2, 3])
            second = bench.scheduler.submit([1, 2, 4])
        first.result(DEADLINE), second.result(DEADLINE)
        if len(bench.context.batches) == 1:
            break
    else:
        pytest.fail("the texts never shared a batch")


def test_a_batch_does_not_wait_for_ever(bench: Bench) -> None:
    bench.context.gate.set()
    with bench.scheduler.preparing():
        bench.scheduler.submit([1, 2, 3]).result(DEADLINE)


def test_batches_have_a_budget(bench: Bench) -> None:
    lengths = [1, 300, 200, 13, 600, *[2] * 70]
    futures = [bench.scheduler.submit(np.full(lengths[0], 5))]
    bench.wait_for_batches(1)
    futures += [bench.scheduler.submit(np.full(length, 5)) for length in lengths[1:]]
    bench.context.gate.set()
    for future in futures:
        assert np.isfinite(future.result(DEADLINE)).all()
    sizes = [[len(tokens) // 4 for tokens in batch] for batch in bench.context.batches]
    assert sizes == [[1], [300, 200], [13], [600], [2] * 64, [2] * 6]
    for batch in sizes:
        assert len(batch) <= SEQUENCE_LIMIT
        assert len(batch) == 1 or sum(batch) <= BUDGET


def test_a_bad_sequence_fails_alone(bench: Bench, plain: Embedder) -> None:
    good = [bench.tokens(f"text {number}") for number in range(4)]
    vocabulary = plain._model.runtime.model.vocabulary
    bad = {
        "too long": np.full(plain.profile.context + 1, 5),
        "no tokens": [],
        "a token id that ends the vocabulary": [5, vocabulary],
        "a negative token id": [-1, 5],
        "an id above 64 bits": [2**70],
        "an id that wraps around in 32 bits": np.array([2**32 + 5]),
        "fractions": [1.5],
        "letters": ["a"],
        "a table": [[5], [6]],
        "a ragged table": [[5], [6, 7]],
        "nothing": None,
    }
    futures = [bench.scheduler.submit(good[0])]
    for tokens in bad.values():
        futures += [bench.scheduler.submit(tokens), bench.scheduler.submit(good[1])]
    bench.context.impossible = good[2].tobytes()
    impossible, neighbour = bench.scheduler.submit(good[2]), bench.scheduler.submit(good[3])
    bench.context.gate.set()
    for name, future in zip(bad, futures[1::2], strict=True):
        with pytest.raises(TextTooLongError if name == "too long" else TextError):
            future.result(DEADLINE)
    for future in futures[::2]:
        assert future.result(DEADLINE).shape == (plain.profile.dimensions,)
    with pytest.raises(ModelError, match="cannot compute this"):
        impossible.result(DEADLINE)
    expected = plain._model.runtime.scheduler.submit(good[3]).result()
    assert cosine(neighbour.result(DEADLINE), expected) > 0.99999
    # The last id of the vocabulary is an id.
    assert bench.scheduler.submit([vocabulary - 1]).result(DEADLINE).any()


def test_a_cancelled_request_is_never_computed(bench: Bench) -> None:
    texts = [bench.tokens(f"text {number}") for number in range(4)]
    running = bench.scheduler.submit(texts[0])
    bench.wait_for_batches(1)
    waiting = [bench.scheduler.submit(tokens) for tokens in texts[1:]]
    assert waiting[1].cancel()
    assert waiting[1].cancelled()
    # What is being computed stops early, since nobody wants anything of its batch.
    assert not running.cancel()
    bench.context.gate.set()
    assert np.isfinite(waiting[2].result(DEADLINE)).all()
    with pytest.raises(CancelledError):
        running.result(DEADLINE)
    assert bench.context.batches == [[texts[0].tobytes()], [t.tobytes() for t in texts[1::2]]]


def test_a_batch_goes_on_while_anybody_wants_it(bench: Bench) -> None:
    first = bench.scheduler.submit([5])
    bench.wait_for_batches(1)
    unwanted, wanted = bench.scheduler.submit([6]), bench.scheduler.submit([7])
    bench.context.gate.set()
    first.result(DEADLINE)
    unwanted.cancel()
    assert np.isfinite(wanted.result(DEADLINE)).all()


def test_too_many_waiting_tokens_are_refused_at_once(bench: Bench) -> None:
    bench.scheduler.token_limit = 30
    bench.scheduler.submit([5] * 100)  # one that is above the limit, and waits for nobody
    bench.wait_for_batches(1)
    waiting = [bench.scheduler.submit([5] * 13) for _ in range(2)]
    with pytest.raises(Overloaded, match="26 tokens wait, and 30 may") as caught:
        bench.scheduler.submit([5] * 5)
    assert (caught.value.queued, caught.value.limit) == (26, 30)
    with pytest.raises(Overloaded):
        bench.model.encode("a text of more than four tokens")
    last = bench.scheduler.submit([5] * 4)
    # Cancelled requests make room.
    waiting[0].cancel()
    after = bench.scheduler.submit([6] * 13)
    # Jobs hold their tokens already, and have no limit.
    job = bench.scheduler.submit_job([np.full(40, 5, np.int32)])
    bench.context.gate.set()
    assert np.isfinite([f.result(DEADLINE) for f in (waiting[1], last, after)]).all()
    assert len(job.result()) == 1


@pytest.mark.slow
def test_a_job_lets_requests_pass_and_is_not_starved(bench: Bench) -> None:
    """They alternate: a request waits for one batch of a job, not for the job."""
    job = bench.scheduler.submit_job([np.full(500, 5, np.int32)] * 4)
    bench.wait_for_batches(1)
    requests = [bench.scheduler.submit([6] * 300) for _ in range(3)]
    bench.context.gate.set()
    job.result()
    for request in requests:
        request.result(DEADLINE)
    order = [len(batch[0]) // 4 for batch in bench.context.batches]
    assert order == [500, 300, 500, 300, 500, 300, 500]


@pytest.mark.slow
def test_jobs_take_turns(bench: Bench) -> None:
    jobs = [bench.scheduler.submit_job([np.full(size, 5, np.int32)] * 3) for size in (500, 400)]
    bench.context.gate.set()
    for job in jobs:
        job.result()
    assert [len(batch[0]) // 4 for batch in bench.context.batches] == [500, 400] * 3


def test_closing_fails_what_waits_and_stops_what_is_computed(bench: Bench) -> None:
    running = bench.scheduler.submit([5])
    bench.wait_for_batches(1)
    waiting, cancelled = bench.scheduler.submit([6]), bench.scheduler.submit([7])
    cancelled.cancel()
    job = bench.scheduler.submit_job([np.full(9, 5, np.int32)])
    closing = in_thread(bench.scheduler.close)
    # At once, and not when the batch ends.
    with pytest.raises(ModelError, match="closed before the vectors were ready"):
        waiting.result(DEADLINE)
    with pytest.raises(ModelError, match="closed before the vectors were ready"):
        job.result()
    bench.context.gate.set()
    closing.join(DEADLINE)
    assert not closing.is_alive()
    with pytest.raises(ModelError, match="closed before the vectors were ready"):
        running.result(0)
    assert cancelled.cancelled()
    for submit in (bench.scheduler.submit, bench.scheduler.submit_job):
        with pytest.raises(ModelError, match="is closed"):
            submit([np.full(9, 5, np.int32)] if submit == bench.scheduler.submit_job else [5])
    bench.scheduler.close()


@pytest.mark.slow
def test_no_thread_is_left(plain: Embedder, file: Path) -> None:
    plain.encode("x")
    before = set(threading.enumerate())
    closed, dropped = Embedder(file, threads=1), Embedder(file, threads=1)
    for model in (closed, dropped):
        model.encode("x")
    assert len(set(threading.enumerate()) - before) == 2
    closed.close()
    assert len(set(threading.enumerate()) - before) == 1
    del dropped, model
    gc.collect()
    wait_until(lambda: set(threading.enumerate()) <= before)


def test_ctrl_c_reaches_who_waits_and_cancels(bench: Bench) -> None:
    main = threading.main_thread().ident
    assert main

    def interrupt() -> None:
        bench.wait_for_batches(1)
        wait_until(main_thread_waits)
        assert bench.scheduler.queued_requests == 1
        signal.pthread_kill(main, signal.SIGINT)

    bench.scheduler.submit([5])
    bench.wait_for_batches(1)
    thread = in_thread(interrupt)
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        bench.model.encode("x")
    assert time.monotonic() - begin < DEADLINE / 2  # the gate is closed all the while
    thread.join()
    bench.context.gate.set()
    assert np.isfinite(bench.scheduler.submit([6]).result(DEADLINE)).all()
    assert sum(map(len, bench.context.batches)) == 2


@pytest.mark.parametrize("call", ["encode", "stream"])
def test_ctrl_c_just_before_the_wait_is_noticed(bench: Bench, call: str) -> None:
    """A call waits for requests, and a stream for a job."""
    with interrupt_before_wait(bench.context.gate.set):
        np.stack(list(getattr(bench.model, call)(["x"])))
    bench.context.gate.set()
    assert np.isfinite(bench.scheduler.submit([6]).result(DEADLINE)).all()


def test_asyncio_waits_for_requests(bench: Bench, plain: Embedder) -> None:
    texts = [f"text {number}" for number in range(8)]

    async def embed(text: str) -> np.ndarray:
        return await asyncio.wrap_future(bench.scheduler.submit(bench.tokens(text)))

    async def main() -> list[object]:
        tasks = [asyncio.create_task(embed(text)) for text in texts]
        await asyncio.sleep(0)  # all of them have submitted now
        tasks[7].cancel()
        await asyncio.sleep(0)
        bench.context.gate.set()
        return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), DEADLINE)

    bench.scheduler.submit([5])
    bench.wait_for_batches(1)
    results = asyncio.run(main())
    assert isinstance(results[7], asyncio.CancelledError)
    assert bench.tokens(texts[7]).tobytes() not in itertools.chain(*bench.context.batches)
    for text, vector in zip(texts[:7], results, strict=False):
        expected = plain._model.runtime.scheduler.submit(plain.tokenize(text)).result()
        assert cosine(vector, expected) > 0.99999


BUSY = """
import atexit, sys, threading
from jlocal import Embedder
model = Embedder("starter", threads=1, compute_type="stored")
scheduler = model._model.runtime.scheduler
tokens = model.tokenize("word " * 300)
job = scheduler.submit_job([tokens] * 5000)
requests = [scheduler.submit(tokens) for _ in range(5000)]
"""


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BUSY + script], capture_output=True, text=True, timeout=DEADLINE
    )


@pytest.mark.slow
@pytest.mark.parametrize("close", ["", "atexit.register(model.close)", "model.close()"])
def test_python_ends_while_much_is_waiting(close: str) -> None:
    """What waits is failed; it is not computed to the end, which would take an hour."""
    result = run(f"{close}\nrequests[-1].add_done_callback(lambda f: print(f.exception()))")
    assert result.stdout == "the model was closed before the vectors were ready\n"
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_process_is_told_and_ends() -> None:
    result = run(
        "import os, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "with scheduler._lock:\n"
        "    child = os.fork()\n"
        "if not child:\n"
        "    for call in (scheduler.submit, scheduler.submit_job, model.encode):\n"
        "        try: call('x')\n"
        "        except Exception as error: print(error)\n"
        "    sys.exit()\n"
        "print(os.waitpid(child, 0)[1])\n"
    )
    told = "a model cannot be used across fork; load it in the new process\n"
    assert result.stdout == 3 * told + "0\n"
    assert (result.returncode, result.stderr) == (0, "")
