"""Leak test of a long-lived process: its memory, file descriptors and threads.

python benchmarks/endurance.py
python benchmarks/endurance.py --model MODEL.gguf --opened 200 --texts 100000 --searches 2000

Three loops run, each in its own process: a model is opened and closed, a stream of texts is
embedded, and a collection, reopened every ten searches, is searched. Each line shows what the
process holds after a part of the loop; no number should grow from the second line on. Linux only.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

_PARTS = 8
_DOCUMENTS = 500
_WORDS = ("harbour", "rope", "ledger", "winter", "signal", "orchard", "copper", "lantern")


def text(number: int) -> str:
    """Make a text of a dozen words; no two are the same."""
    return " ".join(_WORDS[number >> shift & 7] for shift in range(0, 36, 3)) + f" {number}"


def held() -> str:
    """Return the resident memory, open descriptors and threads of this process, as text."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    memory = int(status["VmRSS"].split()[0]) / 1024
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    return f"{memory:7,.1f} MB  {descriptors:3} descriptors  {int(status['Threads']):3} threads"


def parts(what: str, count: int) -> Iterator[range]:
    """Split a loop into parts, and print what the process holds after each."""
    size = max(1, count // _PARTS)
    for start in range(0, count, size):
        yield range(start, min(start + size, count))
        print(f"  {min(start + size, count):9,} {what:16} {held()}", flush=True)


def open_and_close(model: str, count: int) -> None:
    """Open a model, embed one text, and close it."""
    from jlocal import Embedder

    for part in parts("times opened", count):
        for number in part:
            with Embedder(model) as embedder:
                embedder.encode(text(number))


def stream(model: str, count: int) -> None:
    """Embed one stream of texts."""
    from jlocal import Embedder

    with Embedder(model) as embedder:
        vectors = embedder.stream(text(number) for number in range(count))
        for part in parts("texts", count):
            for _ in part:
                next(vectors)


def search(model: str, count: int) -> None:
    """Search a collection of short documents, opened anew for every tenth search."""
    from jlocal import Collection, Embedder

    with tempfile.TemporaryDirectory() as name, Embedder(model) as embedder:
        folder = Path(name) / "texts"
        folder.mkdir()
        for number in range(_DOCUMENTS):
            (folder / f"{number}.txt").write_text(text(number))
        path = Path(name) / "texts.db"
        with Collection(path, embedder) as collection:
            collection.index(folder)
        for part in parts("searches", count):
            for start in range(part.start, part.stop, 10):
                with Collection(path, embedder) as collection:
                    for number in range(start, min(start + 10, part.stop)):
                        collection.search(text(number), n=3)


def main() -> None:
    """Run the loops and print what each holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="starter", help="a name or a path")
    parser.add_argument("--opened", type=int, default=200, help="times that a model is opened")
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--searches", type=int, default=2000)
    options = parser.parse_args()
    loops: list[tuple[Callable[[str, int], None], int]] = [
        (open_and_close, options.opened),
        (stream, options.texts),
        (search, options.searches),
    ]
    start = multiprocessing.get_context("spawn").Process
    for loop, count in loops:
        print(f"{(loop.__doc__ or '').strip()}", flush=True)
        process = start(target=loop, args=(options.model, count))
        process.start()
        process.join()
        if process.exitcode:
            sys.exit(f"{loop.__name__} ended with status {process.exitcode}")


if __name__ == "__main__":
    main()
