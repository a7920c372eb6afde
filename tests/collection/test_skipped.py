"""What a run over folders passes over: links that lead nowhere, and what programs have made."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jlocal import Collection, Report


def documents(tmp_path: Path) -> set[str]:
    with Collection(tmp_path / "notes.db") as collection:
        return {Path(document.id).name for document in collection.documents()}


def skipped(report: Report) -> dict[str, str]:
    return {Path(item.path).name: item.reason for item in report.skipped}


def jlocal(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jlocal", "index", *arguments, "-d", "n.db", "-m", "starter"],
        capture_output=True, cwd=cwd, check=False, encoding="utf-8",
    )  # fmt: skip


def generated(folder: Path) -> dict[str, str]:
    """Make what programs leave beside notes, and return what is to be skipped."""
    for name in ("node_modules/left-pad", "code/__pycache__", "env/lib", "target/doc", ".git"):
        (folder / name).mkdir(parents=True)
        (folder / name / "README.md").write_text(f"This is {name}.")
    (folder / "env/pyvenv.cfg").write_text("home = /usr/bin\n")
    signature = "Signature: 8a477f597d28d172789f06886806bc55\n"
    (folder / "target/CACHEDIR.TAG").write_text(signature)
    # A folder may be called so, and a tag may be none.
    (folder / "venv").mkdir()
    (folder / "venv/b.md").write_text("Wine of the Venv valley.")
    (folder / "shops").mkdir()
    (folder / "shops/CACHEDIR.TAG").write_text("Signature: none")
    return dict.fromkeys(("node_modules", "__pycache__", "env", "target"), "generated")


def test_a_link_that_leads_nowhere_is_no_failure(index, folder: Path) -> None:
    (folder / "gone.md").symlink_to("nowhere.md")
    (folder / "far.md").symlink_to("/no/such/disk/far.md")
    (folder / "self").symlink_to("self")
    for _ in range(2):
        report = index()
        assert (report.files, report.failed) == (1, 0)
        assert skipped(report) == dict.fromkeys(("gone.md", "far.md", "self"), "link")
    # One that was named is missing.
    report = index(folder / "gone.md")
    assert (report.failed, report.failures[0].id) == (1, str(folder / "gone.md"))


@pytest.mark.slow
def test_documents_of_a_link_stay_while_its_disk_is_away(
    index, folder: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disks" / "usb"
    (disk / "deep").mkdir(parents=True)
    for name in ("b.md", "c.md", "deep/d.md"):
        (disk / name).write_text(f"This is {name}.")
    (folder / "b.md").symlink_to(disk / "b.md")
    (folder / "deep").symlink_to(disk / "deep")
    assert index().new == 3
    disk.rename(tmp_path / "away")
    report = index()
    assert (report.removed, report.failed) == (0, 0)
    assert documents(tmp_path) == {"a.md", "b.md", "d.md"}
    # It is back, and one file was deleted.
    (tmp_path / "away").rename(disk)
    (disk / "b.md").unlink()
    report = index()
    assert (report.removed, report.failed, skipped(report)) == (1, 0, {"b.md": "link"})
    assert documents(tmp_path) == {"a.md", "d.md"}


@pytest.mark.slow
def test_packages_and_caches_are_left_out_without_a_gitignore(
    index, folder: Path, tmp_path: Path
) -> None:
    expected = generated(folder)
    report = index()
    assert (skipped(report), report.failed) == (expected, 0)
    assert documents(tmp_path) == {"a.md", "b.md", "CACHEDIR.TAG"}
    # Who names one wants it, and it stays.
    assert index(folder / "node_modules").new == 1
    report = index()
    assert (report.unchanged, report.removed) == (4, 0)
    assert "node_modules" not in skipped(report)
    report = index(gitignore=False)
    assert (report.new, report.removed, report.skipped) == (5, 0, [])


def test_a_dry_run_leaves_out_the_same(index, folder: Path) -> None:
    expected = generated(folder)
    (folder / "gone.md").symlink_to("nowhere.md")
    report = index(dry_run=True)
    assert skipped(report) == expected | {"gone.md": "link"}
    assert (report.files, report.new) == (3, 3)


@pytest.mark.slow
def test_what_is_skipped_is_said(folder: Path, tmp_path: Path) -> None:
    generated(folder)
    shutil.rmtree(folder / "code")
    (folder / "photo.jpg").write_bytes(b"\xff\xd8\xff\0")
    (folder / "empty.md").touch()
    (folder / "gone.md").symlink_to("nowhere.md")
    done = jlocal(tmp_path, "notes")
    assert done.returncode == 0
    assert done.stderr.splitlines()[-2:] == [
        "  Skipped 1 that is not text (photo.jpg), 1 that is empty (empty.md) and 1 broken link "
        "(gone.md)",
        "  Skipped 3 folders of installed packages or caches (env, …; --no-gitignore takes them)",
    ]
    done = jlocal(tmp_path, "notes", "-v")
    assert [line for line in done.stderr.splitlines() if line.startswith("Skipped: ")] == [
        "Skipped: notes/env: installed packages or a cache; --no-gitignore takes it",
        "Skipped: notes/node_modules: installed packages or a cache; --no-gitignore takes it",
        "Skipped: notes/target: installed packages or a cache; --no-gitignore takes it",
        "Skipped: notes/gone.md: a link to what does not exist",
        "Skipped: notes/empty.md: empty",
        "Skipped: notes/photo.jpg: not text",
    ]
