"""What `jlocal index` shows, and what stays of a run that Ctrl-C ends."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pexpect
import pytest

from jlocal import Collection
from jlocal.cli.display.index_progress import index_bar
from jlocal.collection.index.report import Progress
from jlocal.excerpts.columns import width
from support.collection_files import check
from support.escapes import NAME, leaks
from support.not_text import NOT_TEXT
from support.pdfs import pdf
from support.texts import prose

WIDE = "長い名前" * 30


@pytest.fixture
def jlocal(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "jlocal", "index", *map(str, arguments)],
            capture_output=True, cwd=tmp_path, check=False, encoding="utf-8",
        )  # fmt: skip

    return run


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_mistyped_folder_has_no_summary(jlocal, folder: Path) -> None:
    done = jlocal("nots", "-d", "n.db", "-m", "starter")
    assert done.returncode == 1
    reason, count = done.stderr.splitlines()[-2:]
    assert reason.startswith("Not indexed: nots: no such file or folder in ")
    assert count == "Error: 1 input was not indexed."


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
