"""`jlocal status`, `jlocal forget` and `jlocal collections`: what is there, and removing it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jlocal import Collection, Embedder
from jlocal.locations import home


@pytest.fixture
def jlocal(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "jlocal", *map(str, arguments)],
            cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip

    return run


@pytest.fixture
def notes(tmp_path: Path, model: Embedder) -> Path:
    """Return a folder of three notes and a photo, in the default collection."""
    folder = tmp_path / "notes"
    folder.mkdir()
    for name in ("a.md", "b.md", "c.md"):
        (folder / name).write_text(f"This is {name}.\n")
        os.utime(folder / name, (1e9, 1e9))
    (folder / "p.jpg").write_bytes(b"\xff\xd8\0")
    with Collection(model=model) as collection:
        collection.index(folder, exclude=["*.tmp"], chunk=64)
    return folder


def test_status_says_what_is_out_of_date(jlocal, notes: Path, tmp_path: Path) -> None:
    with Collection() as collection:
        status = collection.status()
    assert (status.documents, status.passages, status.kept) == (3, 3, 0)
    (notes / "b.md").write_text("changed")
    (notes / "c.md").unlink()
    (notes / "d.md").write_text("new")
    facts = json.loads(jlocal("status", "--json").stdout)
    assert facts["path"] == str(home() / "collections" / "default.db")
    assert (facts["name"], facts["documents"], facts["passages"]) == ("default", 3, 3)
    assert facts["made_with"]["chunk"] == 64
    assert facts["has_model"] is True
    (folder,) = facts["folders"]
    assert (folder["path"], folder["exclude"]) == (str(notes), ["*.tmp"])
    assert folder["changed"] >= 1
    assert (folder["missing"], folder["others"]) == (1, 2)
    done = jlocal("status")
    assert done.returncode == 0
    assert "--exclude '*.tmp'" in done.stdout
    assert done.stdout.splitlines()[-1] == "Next       jlocal update"


def test_status_of_a_folder_and_a_model_that_are_missing(
    jlocal, notes: Path, tmp_path: Path, model_file: Path
) -> None:
    other = shutil.copy(model_file, tmp_path / "other.gguf")
    with Collection("work", other) as collection:
        collection.index(notes)
    notes.rename(tmp_path / "away")
    Path(other).unlink()
    facts = json.loads(jlocal("status", "--json", "-d", "work").stdout)
    assert (facts["documents"], facts["has_model"]) == (3, False)
    (folder,) = facts["folders"]
    assert (folder["is_there"], folder["documents"], folder["missing"]) == (False, 3, 0)
    done = jlocal("status", "-d", "work")
    assert "the folder is missing, and its documents are kept" in done.stdout
    assert f"no longer at {other}" in done.stdout


def test_forget_on_the_command_line(jlocal, notes: Path, tmp_path: Path) -> None:
    done = jlocal("forget", notes)
    assert (done.returncode, done.stdout) == (1, "")
    assert "use --yes" in done.stderr
    done = jlocal("forget", "notes/a.md")
    assert done.stderr.endswith(f"leave it out: jlocal index {notes} --exclude a.md\n")
    done = jlocal("forget", "other", "-y")
    assert done.returncode == 1
    assert f"is not in this collection, which remembers {notes}" in done.stderr
    done = jlocal("forget", "notes", "-y")
    assert done.stderr.splitlines() == [
        "Forgot notes, and removed its 3 documents.",
        "Note: jlocal index --compact deletes the texts for good.",
    ]
    assert json.loads(jlocal("status", "--json").stdout)["kept"] == 3


def test_collections_are_listed_and_removed(jlocal, notes: Path, model: Embedder) -> None:
    with Collection("work", model) as collection:
        collection.index(notes / "a.md")
    (home() / "collections" / "bad.db").write_text("no database")
    rows = json.loads(jlocal("collections", "--json").stdout)
    assert [(row["name"], row["documents"]) for row in rows] == [
        ("bad", 0), ("default", 3), ("work", 1),
    ]  # fmt: skip
    assert "is not a" in rows[0]["error"]
    assert rows[1]["folders"] == [str(notes)]
    done = jlocal("collections")
    assert done.stdout == jlocal("collections", "list").stdout
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == ["bad", "default", "work"]
    assert jlocal("collections", "path", "work").stdout == f"{rows[2]['path']}\n"
    assert jlocal("collections", "rm", "work").returncode == 1
    done = jlocal("collections", "rm", "wrok", "-y")
    assert (done.returncode, "did you mean work?" in done.stderr) == (1, True)
    done = jlocal("collections", "rm", "work", "bad", "-y")
    assert (done.returncode, done.stderr) == (0, "Removed work\nRemoved bad\n")
    left = {path.name for path in (home() / "collections").iterdir()}
    assert {name for name in left if not name.startswith("default.db")} == set()
    assert (notes / "a.md").exists()
