"""The budget of a batch: it depends on the device, and reaches batches and contexts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jlocal import Embedder
from jlocal.errors import DeviceWarning
from jlocal.llama.context import Context
from jlocal.llama.job import Job
from jlocal.llama.library import api, device_for
from jlocal.llama.model import Model
from jlocal.llama.planning import fits_one_batch, token_budget
from jlocal.llama.request_queue import RequestQueue
from jlocal.llama.requests import Request
from jlocal.llama.run_queue import RunQueue
from jlocal.models.profile import read_profile
from support.alike import cosines
from support.schedulers import (
    BUDGET,
    DEADLINE,
    Bench,
    bench_of,
    in_thread,
    wait_until,
)

SMALL = 96


def array(length: int, token: int = 5) -> np.ndarray:
    return np.full(length, token, np.int32)


@pytest.fixture
def gpu_build(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let llama.cpp say that it was built for a GPU; it computes on the CPU all the same."""
    monkeypatch.setattr(api, "llama_supports_gpu_offload", lambda: True)


@pytest.fixture
def small(file: Path) -> Iterator[Bench]:
    """Return a bench whose batches have a small budget."""
    with bench_of(file, SMALL) as bench:
        yield bench


def lengths_in(bench: Bench) -> list[list[int]]:
    return [[len(tokens) // 4 for tokens in batch] for batch in bench.context.batches]


def test_a_batch_is_larger_on_a_gpu() -> None:
    assert (token_budget("cpu"), token_budget("gpu")) == (512, 2048)


def test_a_build_for_a_gpu_may_be_used_without_it(gpu_build: None) -> None:
    assert [device_for(layers) for layers in (0, 4, -1, None)] == ["cpu", "gpu", "gpu", "gpu"]


def test_a_build_for_the_cpu_has_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "llama_supports_gpu_offload", lambda: False)
    assert {device_for(layers) for layers in (0, 4, -1, None)} == {"cpu"}


@pytest.mark.parametrize(("layers", "budget"), [(None, 2048), (0, 512)])
def test_the_device_of_a_model_decides(
    file: Path, gpu_build: None, layers: int | None, budget: int
) -> None:
    with Embedder(file, threads=1, gpu_layers=layers) as model:
        scheduler = model._model.runtime.scheduler
        assert scheduler.token_budget == budget
        job = scheduler.submit_job([array(250, token) for token in range(5, 13)])
        assert np.isfinite(job.result()).all()
        assert scheduler.stats().batches == (1 if budget == 2048 else 4)


def test_a_model_that_a_gpu_cannot_take_has_the_budget_of_a_cpu(
    file: Path, gpu_build: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = api.llama_model_load_from_file

    def on_the_cpu_alone(path: bytes, params: Any) -> int | None:
        return load(path, params) if params.n_gpu_layers == 0 else None

    monkeypatch.setattr(api, "llama_model_load_from_file", on_the_cpu_alone)
    with pytest.warns(DeviceWarning, match="cannot take the model"):
        model = Embedder(file, threads=1)
    with model:
        runtime = model._model.runtime
        assert (runtime.model.device, runtime.scheduler.token_budget) == ("cpu", 512)


def test_requests_are_batched_within_the_budget(small: Bench) -> None:
    first = small.scheduler.submit(array(1))
    small.wait_for_batches(1)
    rest = [small.scheduler.submit(array(length)) for length in (60, 36, 1, 97, 50, 40)]
    small.context.gate.set()
    for future in (first, *rest):
        assert np.isfinite(future.result(DEADLINE)).all()
    assert lengths_in(small) == [[1], [60, 36], [1], [97], [50, 40]]


def test_jobs_are_planned_within_the_budget(small: Bench) -> None:
    small.context.gate.set()
    small.scheduler.submit_job([array(length) for length in (50, 40, 97, 6)]).result()
    assert lengths_in(small) == [[97], [50, 40, 6]]


def test_a_call_shares_batches_if_it_fits_into_one(small: Bench) -> None:
    """A larger one is a job, whose batches are its own."""
    fitting, larger = ["a", "b"], ["word " * 60, "word " * 70]
    for texts, fits in ((fitting, True), (larger, False)):
        lengths = [len(small.tokens(text)) for text in texts]
        assert fits_one_batch(lengths, SMALL) == fits
        assert fits_one_batch(lengths, BUDGET)
    small.scheduler.submit([5])
    small.wait_for_batches(1)
    threads = [in_thread(lambda: small.model.encode(fitting, prompt=""))]
    wait_until(lambda: small.scheduler.queued_requests == 2)
    threads.append(in_thread(lambda: small.model.encode(larger, prompt="")))
    wait_until(lambda: len(small.scheduler._queue._jobs) == 1)
    assert small.scheduler.queued_requests == 2
    small.context.gate.set()
    for thread in threads:
        thread.join(DEADLINE)
    assert sorted(map(len, small.context.batches)) == [1, 1, 1, 2]


def test_a_queue_counts_full_batches_by_its_budget() -> None:
    queue = RequestQueue(SMALL, None)
    queue.add([Request(array(48)) for _ in range(5)] + [Request(array(97))])
    assert (queue.short, queue.full_batches) == (5, 2)
    runs = RunQueue(queue, least_share=1)
    runs.add(Job([array(96)] * 3, 8, SMALL, None))
    runs.add(Job([array(97)], 8, SMALL, None))
    assert runs.short_batches() == 5


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["qwen3", "eurobert"])
def test_llama_cpp_computes_as_many_tokens_at_once(converted, backbone: str) -> None:
    """A decoder takes a long text in pieces; an encoder takes it whole."""
    profile = read_profile(converted(backbone, kind="F32"))
    model = Model(profile, threads=1, gpu_layers=0, compute_type="stored")
    tokens = np.random.default_rng(0).integers(5, 300, 700, dtype=np.int32)
    vectors, pieces = [], []
    for budget in (256, 512, 2048):
        context = Context(model, 1, capture=backbone == "qwen3", token_budget=budget)
        asked: list[None] = []
        vectors.append(context.embed([tokens], lambda asked=asked: bool(asked.append(None)))[0])
        pieces.append(len(asked))
        whole = max(budget, 1024)
        assert api.llama_n_ubatch(context._handle) == (budget if backbone == "qwen3" else whole)
        assert api.llama_n_ctx(context._handle) == whole
        context.close()
    assert pieces == ([3, 2, 1] if backbone == "qwen3" else [1, 1, 1])
    assert cosines(vectors[:-1], vectors[1:]).min() > 0.99999
