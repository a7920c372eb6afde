"""How long a query waits for its vector while the model is busy with other callers.

python benchmarks/waits.py
python benchmarks/waits.py --model MODEL.gguf --rounds 20 --compute-threads 1

The query is measured alone, while 2,048 documents of another caller wait, and while a long text is
computed: once with queries allowed between two pieces of it, and once without. All inputs are token
ids, so that no tokenizer is measured.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from jlocal import Embedder  # noqa: E402
from jlocal.llama.requests import Request, RequestGroup  # noqa: E402
from jlocal.llama.scheduler import Scheduler  # noqa: E402
from jlocal.llama.tokenizer import Tokens  # noqa: E402

_QUERY_TOKENS = 12
_DOCUMENT_TOKENS = 100


class Waits:
    """Measures one query beside other work."""

    def __init__(self, scheduler: Scheduler, rounds: int) -> None:
        self._scheduler, self._rounds = scheduler, rounds
        self._query = _tokens(_QUERY_TOKENS)

    def measure(
        self, name: str, begin: Callable[[], Request | RequestGroup | None], priority: int = 0
    ) -> None:
        """Print the seconds from the call for the query to its vector, after other work began."""
        seconds = []
        for _ in range(self._rounds):
            work = begin()
            time.sleep(0.05)
            start = time.perf_counter()
            self._scheduler.submit(self._query, caller="searcher", priority=priority).result()
            seconds.append(time.perf_counter() - start)
            if work:
                work.cancel()
                self._scheduler.submit(self._query).result()  # the batch has stopped
        median, longest = 1000 * statistics.median(seconds), 1000 * max(seconds)
        print(f"wait {median:8.1f} ms, at most {longest:8.1f} ms: {name}", flush=True)


def _tokens(count: int) -> Tokens:
    return np.full(count, 5, np.int32)


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="starter")
    parser.add_argument("--long", type=int, default=8000, help="tokens of the long text")
    parser.add_argument(
        "--documents", type=int, default=2048, help="number of waiting texts of 100 tokens"
    )
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--compute-threads", type=int, help="threads of llama.cpp")
    arguments = parser.parse_args()
    with Embedder(arguments.model, threads=arguments.compute_threads) as model:
        scheduler = model._model.runtime.scheduler
        print(f"{model!r}, {model.compute_type}, {arguments.rounds} rounds")
        waits = Waits(scheduler, arguments.rounds)
        long = _tokens(min(arguments.long, model.profile.context))
        documents = [_tokens(_DOCUMENT_TOKENS)] * arguments.documents

        def begin_documents() -> RequestGroup:
            return scheduler.submit_group(documents, caller="indexer")

        def begin_long() -> Request:
            return scheduler.submit(long, caller="reader")

        start = time.perf_counter()
        begin_long().result()
        print(f"a text of {len(long):,} tokens takes {time.perf_counter() - start:.2f} s alone")
        waits.measure("alone", lambda: None)
        waits.measure(
            f"beside {len(documents):,} documents of {_DOCUMENT_TOKENS} tokens", begin_documents
        )
        waits.measure("the same, with a priority", begin_documents, 1)
        waits.measure(f"beside a text of {len(long):,} tokens", begin_long)
        scheduler._executor._passing = None
        waits.measure("the same, without leave to pass", begin_long)


if __name__ == "__main__":
    main()
