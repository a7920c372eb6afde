"""Metrics of the server for Prometheus, under the names of text-embeddings-inference.

https://github.com/huggingface/text-embeddings-inference: router/src/lib.rs names the metrics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from jlocal.server.embedding import Embedded
    from jlocal.server.models import ModelPool

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_TOKENS = tuple(2**power for power in range(2, 16))
_TEXTS = tuple(2**power for power in range(12))


class Metrics:
    """The counters of one server.

    Attributes:
        texts: computed since it started.
        tokens: computed since it started.

    """

    def __init__(self) -> None:
        self.texts = self.tokens = 0
        self.registry = registry = CollectorRegistry()
        self.requests = Counter("te_request_count", "Requests", ["method"], registry=registry)
        self.successes = Counter(
            "te_request_success", "Requests that were answered", ["method"], registry=registry
        )
        self.failures = Counter(
            "te_request_failure", "Requests that had an error", ["err"], registry=registry
        )
        self.request_duration = self._seconds("te_request_duration", "From request to answer")
        self.tokenization = self._seconds("te_embed_tokenization_duration", "Tokenising a request")
        self.waiting = self._seconds("te_embed_queue_duration", "Waiting for the first batch")
        self.inference = self._seconds("te_embed_inference_duration", "From there to the vectors")
        self.input_length = Histogram(
            "te_request_input_length", "Tokens in an input", buckets=_TOKENS, registry=registry
        )
        self.batch_size = Histogram(
            "te_batch_next_size", "Texts in a batch", buckets=_TEXTS, registry=registry
        )
        self.batch_tokens = Histogram(
            "te_batch_next_tokens", "Tokens in a batch", buckets=_TOKENS, registry=registry
        )
        self.queue = Gauge("te_queue_size", "Inputs that wait", registry=registry)
        self.truncated = Counter(
            "jlocal_truncated_inputs", "Inputs that were truncated", registry=registry
        )
        self.loaded = Gauge("jlocal_loaded_models", "Models in memory", registry=registry)

    def _seconds(self, name: str, text: str) -> Histogram:
        return Histogram(name, f"{text}, in seconds", buckets=_SECONDS, registry=self.registry)

    def count(self, embedded: Embedded) -> None:
        """Count the inputs of a request that were embedded."""
        self.tokenization.observe(embedded.tokenization)
        self.waiting.observe(embedded.waiting)
        self.inference.observe(embedded.computation)
        self.truncated.inc(embedded.truncated)
        for tokens in embedded.tokens:
            self.input_length.observe(tokens)

    def count_batch(self, texts: int, tokens: int, seconds: float) -> None:
        """Count a batch that was computed; called in the scheduler's thread."""
        del seconds
        self.texts += texts
        self.tokens += tokens
        self.batch_size.observe(texts)
        self.batch_tokens.observe(tokens)

    def text(self, pool: ModelPool) -> bytes:
        """Return all of it in Prometheus's text format."""
        schedulers = [model.scheduler for model in pool.loaded]
        self.queue.set(sum(scheduler.queued_requests for scheduler in schedulers if scheduler))
        self.loaded.set(len(schedulers))
        return generate_latest(self.registry)
