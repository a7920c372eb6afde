"""A run over a folder as people have them: what is skipped, what is told, and what is kept."""

from __future__ import annotations

import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pexpect
import pytest

from jlocal import Collection, Embedder, Report
from jlocal.cli.display.index_progress import index_bar
from jlocal.collection.index.report import Progress
from jlocal.excerpts.columns import width
from support.collection_files import check
from support.escapes import NAME, leaks
from support.pdfs import pdf
from support.texts import prose

NUL = b"\0" * 64
# What a person's folder has beside notes, by name.
NOT_TEXT = {
    "photo.jpg": b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(range(256)) * 40,
    "song.mp3": b"ID3\x04\0\0\0\0\0\0" + bytes(range(1, 256)) * 300,
    "notes.sqlite": b"SQLite format 3\0" + NUL,
    "program": b"\x7fELF\x02\x01\x01\0" + NUL,
    "font.ttf": b"\0\x01\0\0\0\x0f" + NUL,
    "backup.tar.gz": b"\x1f\x8b\x08\0" + bytes(range(255, 0, -1)) * 20,
    "film.mov": b"\0\0\0\x14ftypqt  " + NUL * 4096,
}


@pytest.fixture
def index(tmp_path: Path, model: Embedder, folder: Path) -> Callable[..., Report]:
    def run(*paths: Path, **options: object) -> Report:
        with Collection(tmp_path / "notes.db", model) as collection:
            report = collection.index(paths or [folder], **options)
        check(tmp_path / "notes.db")
        return report

    return run


@pytest.fixture
def jlocal(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "jlocal", "index", *map(str, arguments)],
            capture_output=True, cwd=tmp_path, check=False, encoding="utf-8",
        )  # fmt: skip

    return run


def skipped(report: Report) -> dict[str, str]:
    return {Path(item.path).name: item.reason for item in report.skipped}


def test_what_is_not_text_is_no_failure(index, folder: Path) -> None:
    for name, data in NOT_TEXT.items():
        (folder / name).write_bytes(data)
    with zipfile.ZipFile(folder / "old.zip", "w") as archive:
        archive.writestr("a.md", "a note that is packed away")
    (folder / "empty.md").touch()
    (folder / "blank.txt").write_text(" \n\t\n")
    (folder / "~$letter.docx").write_bytes(b"\x05user" + NUL)
    os.mkfifo(folder / "pipe")
    for _ in range(2):
        report = index()
        assert (report.files, report.failed, report.failures) == (1, 0, [])
        expected = dict.fromkeys((*NOT_TEXT, "old.zip"), "binary")
        expected |= {"empty.md": "empty", "blank.txt": "empty", "pipe": "special"}
        assert skipped(report) == expected
    assert report.unchanged == 1


def test_a_large_file_that_is_not_text_is_not_read_to_its_end(index, folder: Path) -> None:
    with (folder / "disk.img").open("wb") as file:
        file.write(b"\0\x01" * 500)
        file.truncate(1 << 40)
    assert skipped(index()) == {"disk.img": "binary"}


def test_what_should_have_been_read_is_a_failure(index, folder: Path) -> None:
    (folder / "torn.md").write_bytes(b"A note that a crash\0\0\0\0 has torn.")
    (folder / "short.txt").write_bytes("Übermut".encode("mac-roman"))
    (folder / "cut.pdf").write_bytes(pdf("One page.")[:300])
    report = index()
    names = {Path(failure.id).name for failure in report.failures}
    assert names == {"torn.md", "short.txt", "cut.pdf"}
    assert (report.failed, report.skipped) == (3, [])


def test_a_file_that_was_named_is_not_skipped(index, folder: Path) -> None:
    (folder / "photo.jpg").write_bytes(NOT_TEXT["photo.jpg"])
    (folder / "empty.md").touch()
    report = index(folder / "photo.jpg", folder / "empty.md", folder)
    assert [Path(failure.id).name for failure in report.failures] == ["photo.jpg"]
    assert skipped(report) == {"empty.md": "empty"}


def test_a_document_whose_file_is_skipped_now_is_removed(
    index, folder: Path, tmp_path: Path, model: Embedder
) -> None:
    (folder / "draft").write_text("This was a draft.")
    assert index().new == 2
    (folder / "draft").write_bytes(NOT_TEXT["program"])
    report = index()
    assert (report.removed, report.unchanged, report.failed) == (1, 1, 0)
    with Collection(tmp_path / "notes.db", model) as collection:
        assert {Path(hit.path).name for hit in collection.search("draft")} == {"a.md"}
    # A folder in which nothing is text is no folder that was unmounted.
    (folder / "a.md").write_bytes(b"")
    assert index().removed == 1


@pytest.fixture(scope="module")
def starter() -> Embedder:
    with Embedder("starter") as embedder:
        yield embedder


def test_a_large_file_waits_to_be_asked_for(tmp_path: Path, starter: Embedder) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "a.md").write_text("We keep backups.")
    lines = (
        f"2024-01-01T00:00:{n % 60:02} host kernel: [{n * 7919}] eth0: up\n" for n in range(9000)
    )
    (folder / "server.log").write_text("".join(lines))
    size = (folder / "server.log").stat().st_size
    with (folder / "huge.txt").open("w") as file:
        for _ in range(66):
            file.write("word " * 210_000)
    with Collection(tmp_path / "n.db", starter) as collection:
        report = collection.index(folder)
        assert (report.new, report.failed) == (1, 0)
        large = {Path(item.path).name: item for item in report.skipped}
        assert {name: item.reason for name, item in large.items()} == {
            "server.log": "large",
            "huge.txt": "large",
        }
        assert large["server.log"].size == size
        real = len(starter.tokenize((folder / "server.log").read_text()))
        assert abs(large["server.log"].tokens / real - 1) < 0.1
        # Even asked for, a file has a limit.
        assert [
            Path(f.id).name for f in collection.index(folder, large=True, dry_run=True).failures
        ] == ["huge.txt"]


def test_large_files_go_last_so_that_an_interrupted_run_keeps_the_notes(
    collection: Collection, folder: Path
) -> None:
    (folder / "a.log").write_text("".join(f"{n} request\n" for n in range(60_000)))
    (folder / "b.log").write_text("".join(f"{n} answer\n" for n in range(40_000)))
    (folder / "z.md").write_text("The last note.")
    plan = collection.index(folder, large=True, dry_run=True).plan
    assert [Path(path).name for path in plan.new] == ["a.md", "z.md", "b.log", "a.log"]

    def interrupt(progress: Progress) -> None:
        if progress.path.endswith(".log") and progress.embedded:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collection.index(folder, large=True, chunk=64, on_progress=interrupt)
    assert {Path(document.id).name for document in collection.documents()} == {"a.md", "z.md"}


def test_a_large_file_is_taken_when_it_is_asked_for_or_known(
    index, folder: Path, monkeypatch
) -> None:
    monkeypatch.setattr("jlocal.collection.index.reading.MOST_TOKENS", 300)
    for name in ("a", "b", "c"):
        (folder / f"{name}.log").write_text(prose(400, seed=ord(name)))
    assert skipped(index(chunk=64)) == {f"{name}.log": "large" for name in "abc"}
    assert index(folder / "a.log").new == 1
    # Not to be asked for again, and it may grow.
    (folder / "a.log").write_text(prose(500, seed=1))
    report = index()
    assert (report.changed, skipped(report)) == (1, {"b.log": "large", "c.log": "large"})
    report = index(large=True)
    assert (report.new, report.skipped) == (2, [])
    assert index().skipped == []


def test_the_screen_of_a_first_run(jlocal, folder: Path) -> None:
    for name in ("photo.jpg", "song.mp3"):
        (folder / name).write_bytes(NOT_TEXT[name])
    (folder / "empty.md").touch()
    done = jlocal("notes", "-d", "n.db", "-m", "starter")
    assert (done.returncode, done.stdout) == (0, "")
    model, counts, skips = done.stderr.splitlines()
    assert model == "  Model: starter (English, 9 MB). Better, in 100 languages:  jlocal pull small"
    assert counts.startswith("  1 of 1 file · 1 passage · ")
    assert skips == "  Skipped 2 that are not text (photo.jpg, …) and 1 that is empty (empty.md)"
    done = jlocal("notes", "-d", "n.db", "-v")
    assert done.stderr.splitlines()[:3] == [
        "Skipped: notes/empty.md: empty",
        "Skipped: notes/photo.jpg: not text",
        "Skipped: notes/song.mp3: not text",
    ]
    assert "Model" not in done.stderr
    assert jlocal("notes", "-d", "n.db", "-q").stderr == ""
    assert jlocal("notes", "-d", "q.db", "-q", "-m", "starter").stderr == ""


def test_a_mistyped_folder_has_no_summary(jlocal, folder: Path) -> None:
    done = jlocal("nots", "-d", "n.db", "-m", "starter")
    assert done.returncode == 1
    reason, count = done.stderr.splitlines()[-2:]
    assert reason.startswith("Not indexed: nots: no such file or folder in ")
    assert count == "Error: 1 input was not indexed."


def test_lines_of_the_summary_end_between_words(tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "a.md").write_text("We keep backups.")
    for name in ("a long name of a photo.jpg", "b.jpg"):
        (folder / name).write_bytes(NOT_TEXT["photo.jpg"])
    for name in ("nothing at all is here.md", "nothing.md"):
        (folder / name).touch()
    (folder / "server.log").write_text("2024-01-01T00:00:00 host kernel: eth0: up\n" * 20_000)
    child = pexpect.spawn(
        sys.executable,
        ["-m", "jlocal", "index", "notes", "-d", "n.db", "-m", "starter"],
        cwd=tmp_path, env=os.environ | {"COLUMNS": "60"}, timeout=120, encoding="utf-8",
    )  # fmt: skip
    lines = child.read().split("\r\n")
    start = next(n for n, line in enumerate(lines) if "Skipped 2 that are not text" in line)
    assert lines[start : start + 2] == [
        "  Skipped 2 that are not text (a long name of a ph…, …) and",
        "  2 that are empty (nothing at all is h…, …)",
    ]
    # After one short note nobody knows how long the log would take.
    assert re.search(r"tokens; +--all takes it\)$", "".join(lines[start + 2 : start + 4]))


def test_a_missing_extra_is_said_once(jlocal, folder: Path, tmp_path: Path) -> None:
    for number in range(3):
        (folder / f"{number}.pdf").write_bytes(pdf("A page."))
    # As if it were not installed.
    (tmp_path / "without.py").write_text(
        "import sys\nsys.modules['pypdfium2'] = None\nfrom jlocal.__main__ import main\nmain()\n"
    )
    done = subprocess.run(
        [sys.executable, "without.py", "index", "notes", "-d", "n.db", "-m", "starter"],
        capture_output=True, cwd=tmp_path, check=False, encoding="utf-8",
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1] == "  3 PDF files need: pip install 'jlocal[pdf]'"
    assert done.stderr.count("pip install") == 1


# Progress


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


WIDE = "長い名前" * 30


@pytest.mark.slow
def test_the_bar_fits_its_terminal_and_commands_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    for number in range(10):
        (folder / f"{number}.md").write_text(prose(1_000, seed=number))
    for name in (f"{WIDE[:60]}.md", f"{NAME}.md"):
        (folder / name).write_text(prose(2_000, seed=1))
    child = pexpect.spawn(
        sys.executable,
        ["-m", "jlocal", "index", "notes", "-d", "n.db", "-m", "starter", "-t", "1"],
        cwd=tmp_path, dimensions=(24, 80), timeout=120, encoding="utf-8",
    )  # fmt: skip
    shown = child.read()
    child.wait()
    assert child.exitstatus == 0
    lines = [line for row in shown.split("\n") for line in row.split("\r")]
    bars = [line for line in lines if " of 12 files" in line]
    assert any("tokens/s" in line for line in bars)
    assert any(
        re.fullmatch(r"  [█▉▊▋▌▍▎▏ ]{16} \d+ of 12 files · notes/\d\.md *", line) for line in bars
    )
    assert max(width(line) for line in lines) <= 80
    assert leaks(shown.replace("\r", "").encode()) == []
    last = [line for line in lines if line.strip()]
    assert "12 of 12 files · " in last[-2]
    assert last[-1] == "  Next:  jlocal search -d n.db your question"


def test_no_next_step_stands_before_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "good.md").write_text("A note.")
    (folder / "torn.md").write_bytes(b"torn\0")
    child = pexpect.spawn(
        sys.executable, ["-m", "jlocal", "index", "notes", "-m", "starter"],
        cwd=tmp_path, dimensions=(24, 80), timeout=120, encoding="utf-8",
    )  # fmt: skip
    shown = child.read()
    child.wait()
    assert child.exitstatus == 1
    assert shown.rstrip().endswith("\nError: 1 input was not indexed.")
    assert "Next:" not in shown


def test_a_long_run_is_announced_once(capsys: pytest.CaptureFixture[str]) -> None:
    with index_bar(quiet=False) as show:
        for seconds in (1.0, 9.0, 12.0):
            show(Progress(10, 90, "a.md", 30, 9000, seconds, 3600.0))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "  This takes about 60 min more (80 files left).",
        "  Ctrl-C keeps what is done, and the same command goes on from there.",
    ]
    with index_bar(quiet=False) as show:
        show(Progress(10, 90, "a.md", 30, 9000, 9.0, 60.0))
    assert capsys.readouterr().err == ""


# What is kept


def documents(database: Path) -> int:
    if not database.exists():
        return 0
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        try:
            return int(connection.execute("SELECT count(*) FROM document").fetchone()[0])
        except sqlite3.OperationalError:
            return 0


@pytest.mark.slow
def test_what_was_done_before_ctrl_c_stays(tmp_path: Path) -> None:
    """The first documents can be searched soon, and none of them is embedded again."""
    folder = tmp_path / "notes"
    folder.mkdir()
    for number in range(300):
        (folder / f"{number:03}.md").write_text(prose(3_000, seed=number))
    database = tmp_path / "n.db"
    process = subprocess.Popen(
        [sys.executable, "-m", "jlocal", "index", "notes", "-d", "n.db", "-m", "starter"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
    )  # fmt: skip
    deadline = time.monotonic() + 90
    while documents(database) < 3:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    found = subprocess.run(
        [sys.executable, "-m", "jlocal", "search", "-d", "n.db", "-q", "water", "--json"],
        capture_output=True, cwd=tmp_path, check=False, encoding="utf-8",
    )  # fmt: skip
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "of 300 files done and kept; the same command goes on from there." in errors
    assert found.stdout.count("\n") >= 3, found.stderr
    kept = documents(database)
    assert 3 <= kept < 300
    check(database)
    for path in sorted(folder.iterdir())[kept:]:
        path.unlink()
    with Collection(database) as collection:
        report = collection.index(folder)
    assert (report.unchanged, report.new, report.embedded) == (kept, 0, 0)


def test_work_is_written_after_about_two_seconds() -> None:
    """However fast the model is: a slow one must not hold hundreds of texts."""
    from jlocal.collection.index.pace import next_size

    for speed in (300, 3_000, 100_000):  # characters a second
        size = 4_000
        for _ in range(10):
            size = next_size(size, size / speed)
        assert size == pytest.approx(min(max(2 * speed, 1_000), 400_000), rel=0.01)


# Dry run


def test_a_dry_run_says_what_a_run_does_and_writes_nothing(
    jlocal, index, folder: Path, tmp_path: Path, model: Embedder
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


def test_a_dry_run_on_the_command_line(jlocal, folder: Path, tmp_path: Path) -> None:
    (folder / "photo.jpg").write_bytes(NOT_TEXT["photo.jpg"])
    done = jlocal("notes", "-d", "n.db", "-m", "starter", "--dry-run")
    assert done.returncode == 0
    assert done.stdout == "new      notes/a.md\nskipped  notes/photo.jpg: not text\n"
    model, summary = done.stderr.splitlines()
    assert model.startswith("  Model: starter")
    assert summary.startswith("Nothing was written. To do: 1 new; about 1 new passage, ")
    assert not list(tmp_path.glob("n.db*"))
    (folder / "torn.md").write_bytes(b"A note that a crash\0\0\0\0 has torn.")
    done = jlocal("notes", "-d", "n.db", "-m", "starter", "--dry-run")
    assert done.returncode == 1
    said = done.stderr.splitlines()
    assert said[0].startswith("  Model: starter")
    assert said[1].startswith("Not indexed: notes/torn.md: ")
    assert said[-1] == "Error: 1 input would not be indexed."
