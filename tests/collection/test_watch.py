"""`jlocal watch`: real files that change, come and go under a real process."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jlocal import Collection, Embedder

pytest.importorskip("watchfiles")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="signals end it")]
WAIT = 90.0


class Watching:
    """A running `jlocal watch`, and the lines that it prints."""

    def __init__(self, folder: Path) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-m", "jlocal", "watch", "-d", "notes.db"],
            cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.child.stdout:
            self._lines.put(line)

    def end(self) -> None:
        """Kill the process, and close what it wrote to."""
        self.child.kill()
        self.child.wait()
        self._reader.join()
        self.child.stdout.close()

    def expect(self, *wanted: str) -> list[str]:
        """Wait for lines that hold these texts, in any order."""
        left, seen = set(wanted), []
        deadline = time.monotonic() + WAIT
        while left:
            try:
                seen.append(self._lines.get(timeout=max(0.1, deadline - time.monotonic())))
            except queue.Empty:
                raise AssertionError(f"{left} did not come, but {seen}") from None
            left -= {text for text in left if text in seen[-1]}
        return seen


@pytest.fixture
def notes(tmp_path: Path, model: Embedder) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    for name in ("a.md", "b.md"):
        (folder / name).write_text(f"This is {name}.\n")
    with Collection(tmp_path / "notes.db", model) as collection:
        collection.index(folder)
    return folder


@pytest.fixture
def watching(notes: Path, tmp_path: Path) -> Iterator[Callable[[], Watching]]:
    started: list[Watching] = []

    def start() -> Watching:
        started.append(Watching(tmp_path))
        return started[-1]

    yield start
    for one in started:
        one.end()


def names(folder: Path, model: Embedder) -> set[str]:
    with Collection(folder / "notes.db", model) as collection:
        return {Path(hit.path).name for hit in collection.search("this", 100)}


def test_changes_are_followed(watching, notes: Path, tmp_path: Path, model: Embedder) -> None:
    # What changed while nobody watched comes first.
    (notes / "c.md").write_text("This is new.")
    seen = watching()
    seen.expect("Watching 1 folder", "new      notes/c.md")
    (notes / "a.md").write_text("This is another.")
    (notes / "b.md").unlink()
    seen.expect("changed  notes/a.md", "removed  notes/b.md")
    # As editors save: a new file takes the place of the old one.
    (notes / ".a.md.tmp").write_text("This is saved.")
    (notes / ".a.md.tmp").replace(notes / "a.md")
    (notes / "sub").mkdir()
    (notes / "sub/d.md").write_text("This is deeper.")
    seen.expect("changed  notes/a.md", "new      notes/sub/d.md")
    assert names(tmp_path, model) == {"a.md", "c.md", "d.md"}
    # Others can index meanwhile, and what they add is watched too.
    (tmp_path / "more").mkdir()
    (tmp_path / "more/e.md").write_text("This is more.")
    with Collection(tmp_path / "notes.db", model) as collection:
        collection.index(tmp_path / "more", wait=60)
    (tmp_path / "more/f.md").write_text("This is yet more.")
    seen.expect("new      more/f.md")
    seen.child.send_signal(signal.SIGINT)
    assert seen.child.wait(WAIT) == 130
    seen.expect("Interrupted.")


def test_folders_that_come_and_go(watching, notes: Path, tmp_path: Path, model: Embedder) -> None:
    seen = watching()
    seen.expect("Watching 1 folder")
    (notes / "c.md").write_text("This is new.")
    seen.expect("new      notes/c.md")
    notes.rename(tmp_path / "away")
    seen.expect("its 3 documents are kept")
    assert names(tmp_path, model) == {"a.md", "b.md", "c.md"}
    (tmp_path / "away/d.md").write_text("This was written elsewhere.")
    (tmp_path / "away").rename(notes)
    seen.expect("notes is back", "new      notes/d.md")
    (notes / "a.md").unlink()
    seen.expect("removed  notes/a.md")
    seen.child.send_signal(signal.SIGTERM)
    assert seen.child.wait(WAIT) == 143


def test_what_cannot_be_watched(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "jlocal", "watch"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: nothing is indexed yet; begin with: jlocal index FOLDER\n"


def test_without_watchfiles_nothing_is_promised(notes: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['watchfiles'] = None\n"
        "sys.argv = ['jlocal', 'watch', '-d', 'notes.db']\n"
        "from jlocal.__main__ import main; main()"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: watching needs: pip install 'jlocal[watch]'")
