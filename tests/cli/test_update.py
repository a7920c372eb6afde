"""`jlocal update`, `jlocal index` without paths, and when a collection is made anew."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from jlocal import Collection, Embedder

pytestmark = pytest.mark.slow


@pytest.fixture
def notes(tmp_path: Path, model: Embedder) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    for name in ("a.md", "b.md"):
        (folder / name).write_text(f"This is {name}.\n")
    with Collection(model=model) as collection:
        collection.index(folder, chunk=64)
    return folder


def test_update_and_index_without_paths(jlocal, notes: Path) -> None:
    (notes / "c.md").write_text("new")
    done = jlocal("update")
    assert (done.returncode, done.stdout) == (0, "")
    assert "1 new, 2 unchanged" in done.stderr
    (notes / "d.md").write_text("newer")
    assert "1 new, 3 unchanged" in jlocal("index").stderr
    assert jlocal("update", "-q").stderr == ""
    done = jlocal("index", "--exclude", "*.tmp")
    assert done.returncode == 2
    assert "name the PATHS" in done.stderr
    notes.rename(notes.with_name("away"))
    done = jlocal("update")
    assert done.returncode == 1
    assert "its 4 documents are kept" in done.stderr
    assert jlocal("index", "notes", "--prune").returncode == 0
    done = jlocal("update")
    assert done.returncode == 1
    assert done.stderr == ("Error: no folder is remembered yet; name one: jlocal index FOLDER\n")


def test_nothing_is_made_by_a_command_that_names_nothing(jlocal, user_folders: Path) -> None:
    for command in ("index", "update"):
        done = jlocal(command)
        assert done.returncode == 1
        assert done.stderr.endswith("jlocal index FOLDER\n")
    assert not list(user_folders.rglob("*.db*"))


def test_the_summary_says_how_a_folder_is_read(jlocal, notes: Path) -> None:
    said = jlocal("index", "notes", "--exclude", "b*").stderr
    assert f"{notes} is read --exclude 'b*' from now on; until now without filters." in said
    assert "from now on" not in jlocal("index", "notes").stderr


def test_another_chunk_size_without_a_terminal(jlocal, notes: Path) -> None:
    done = jlocal("index", "notes", "--chunk", 32)
    assert done.returncode == 1
    assert "rebuild this one with --rebuild" in done.stderr
    done = jlocal("index", "--rebuild", "--chunk", 32)
    assert done.returncode == 0
    with Collection() as collection:
        assert collection.config.chunk == 32


@pytest.mark.skipif(os.name != "posix", reason="needs a terminal")
def test_another_chunk_size_at_a_terminal(notes: Path) -> None:
    pexpect = pytest.importorskip("pexpect")
    for answer, chunk in (("n", 64), ("y", 32)):
        child = pexpect.spawn(
            sys.executable, ["-m", "jlocal", "index", "--chunk", "32"], timeout=90, encoding="utf-8"
        )
        child.expect("Make it anew")
        child.sendline(answer)
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == (0 if answer == "y" else 1)
        with Collection() as collection:
            assert collection.config.chunk == chunk
