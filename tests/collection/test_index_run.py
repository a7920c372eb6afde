"""A run over a folder: its progress, its batches, and what a dry run says of it."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from jlocal import Collection, Embedder
from jlocal.collection.index.report import Progress
from support.not_text import NOT_TEXT
from support.texts import prose


@pytest.mark.slow
def test_progress_has_an_end(index, folder: Path) -> None:
    for number in range(40):
        (folder / f"{number:02}.md").write_text(prose(120, seed=number))
    (folder / "photo.jpg").write_bytes(NOT_TEXT["photo.jpg"])
    told: list[Progress] = []
    report = index(chunk=48, on_progress=told.append)
    assert told[0].total == 0
    assert {step.total for step in told[1:]} <= {41, 42}
    assert [step.files for step in told[1:]] == sorted(step.files for step in told[1:])
    assert [step.tokens for step in told] == sorted(step.tokens for step in told)
    last = told[-1]
    assert (last.files, last.total, last.embedded) == (41, 41, report.embedded)
    assert last.tokens == report.tokens > 0
    assert last.tokens_per_second > 0


def test_work_is_written_after_about_two_seconds() -> None:
    """However fast the model is: a slow one must not hold hundreds of texts."""
    from jlocal.collection.index.pace import next_size

    for speed in (300, 3_000, 100_000):  # characters a second
        size = 4_000
        for _ in range(10):
            size = next_size(size, size / speed)
        assert size == pytest.approx(min(max(2 * speed, 1_000), 400_000), rel=0.01)


@pytest.mark.slow
def test_a_dry_run_says_what_a_run_does_and_writes_nothing(
    index, folder: Path, tmp_path: Path, model: Embedder
) -> None:
    random.seed(0)
    for number in range(20):
        (folder / f"{number}.md").write_text(prose(random.randrange(20, 400), seed=number))
    (folder / "page.html").write_text("<h1>Bees</h1><p>Two hives.</p>")
    (folder / "photo.jpg").write_bytes(NOT_TEXT["photo.jpg"])
    database = tmp_path / "notes.db"
    with Collection(database, model) as collection:
        planned = collection.index(folder, chunk=64, dry_run=True)
    assert not list(tmp_path.glob("notes.db*"))
    assert planned.plan
    done = index(chunk=64)
    assert (planned.new, planned.files) == (done.new, done.files) == (22, 22)
    assert abs(planned.plan.passages / done.embedded - 1) < 0.3
    assert abs(planned.plan.tokens / done.tokens - 1) < 0.3
    assert planned.plan.seconds > 0
    (folder / "a.md").unlink()
    (folder / "0.md").write_text("Another.")
    for name in ("1.md", "page.html"):
        os.utime(folder / name, ns=(1, 1))
    (folder / "2.md").write_bytes(b"")
    (folder / "new.md").write_text("New.")
    before = database.read_bytes()
    with Collection(database, model) as collection:
        planned = collection.index(folder, dry_run=True)
    assert database.read_bytes() == before
    assert planned.plan
    assert [Path(path).name for path in planned.plan.new] == ["new.md"]
    assert [Path(path).name for path in planned.plan.changed] == ["0.md"]
    assert {Path(path).name for path in planned.plan.removed} == {"a.md", "2.md"}
    done = index()
    for name in ("new", "changed", "unchanged", "removed", "files"):
        assert getattr(planned, name) == getattr(done, name), name
