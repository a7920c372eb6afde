"""Searching and indexing on the command line: what a person and a program read."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jlocal import Embedder
from jlocal.excerpts.columns import width
from support.collection_files import notes_to_search

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory, model: Embedder) -> Path:
    """Return a folder with a few notes and their collection."""
    return notes_to_search(tmp_path_factory.mktemp("search"), model)


@pytest.fixture
def jlocal(notes: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "jlocal", *map(str, arguments)],
            capture_output=True, cwd=notes, check=False, encoding="utf-8",
            env=os.environ | environment,
        )  # fmt: skip

    return run


def test_search_on_the_command_line(jlocal, notes: Path) -> None:
    done = jlocal("search", "-d", "notes.db", "kept", "backups", "--path", "backup.md")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(
        r"1  0\.\d\d  notes/backup\.md:1( › Backups)?\n"
        r"(   Backups\n)?   Every night, kept for thirty days\.\n",
        done.stdout,
    )
    done = jlocal("search", "-d", "notes.db", "backups", COLUMNS="80")
    lines = done.stdout.splitlines()
    assert sum(not line.startswith(" ") for line in lines) == 4
    assert "\x1b" not in done.stdout
    assert "\x07" not in done.stdout
    assert max(map(width, lines)) <= 80
    done = jlocal("search", "-d", "notes.db", "backups", "--json", "-n", 2)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 2
    assert rows[0].keys() >= {"path", "page", "first_line", "last_line", "score", "text"}
    assert rows[0].keys() >= {"cosine", "bm25", "relevance", "headings", "state", "others"}
    assert Path(rows[0]["path"]).is_absolute()
    assert rows[0]["score"] >= rows[1]["score"]
    done = jlocal("search", "-d", "notes.db", "backups", "--min-score", "0.9999")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "Nothing found.\n")
    done = jlocal("search", "-d", "notes.db", "backups", "--min-score", "0.9999", "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("option", ["-n", "-k", "--top-k", "--limit"])
def test_the_number_of_hits_has_the_names_of_other_tools(option: str, jlocal) -> None:
    done = jlocal("search", option, "2", "backups", "-d", "notes.db", "--json")
    assert len(done.stdout.splitlines()) == 2


def test_the_words_of_a_query_are_only_words(jlocal) -> None:
    """They need no quotation marks, options may stand among them, and `--` ends the options."""
    expected = jlocal("search", "-d", "notes.db", "kept -n 1 --open", "--json").stdout
    done = jlocal("search", "--json", "-d", "notes.db", "--", "kept", "-n", "1", "--open")
    assert done.stdout == expected
    expected = jlocal("search", "-d", "notes.db", 'kept NEAR( "* OR', "--json").stdout
    done = jlocal("search", "kept", "-d", "notes.db", "NEAR(", "--json", '"*', "OR")
    assert (done.returncode, done.stdout) == (0, expected)
    done = jlocal("search", "-d", "notes.db", "-what", "is")
    assert done.returncode == 2
    assert "write -- before words that begin with a dash" in done.stderr
    done = jlocal("search", "-d", "notes.db", "--jsn", "is")
    assert "did you mean --json?" in done.stderr


def test_paths_only(jlocal, notes: Path) -> None:
    done = jlocal("search", "-d", "notes.db", "budget", "--files", "-n", "20")
    paths = done.stdout.splitlines()
    assert sorted(paths) == [
        "notes/backup.md", "notes/escape.txt", "notes/sub/budget.md", "notes/sub/火星.md"
    ]  # fmt: skip
    again = jlocal("search", "-d", "notes.db", "budget", "--files", "-0", "-n", "20")
    assert again.stdout == "".join(f"{path}\0" for path in paths)
    for arguments in (("--files", "--json"), ("--files", "--open", "1"), ("-0",)):
        assert jlocal("search", "-d", "notes.db", "x", *arguments).returncode == 2


def test_errors_are_one_line(jlocal, notes: Path, other_model_file: Path) -> None:
    for arguments, message in (
        (
            ("search", "-d", "none.db", "x"),
            "make it with: jlocal index FOLDER -d none.db",
        ),
        (("search", "-d", "notes.db", " "), "the query is empty"),
        (("search", "-d", "notes/backup.md", "x"), "is not a collection of jlocal"),
        (("search", "-d", "notes.db", "x", "-m", other_model_file), "is another file"),
        (("search", "-d", "notes.db", "x", "-m", "none.gguf"), "no such file"),
        (("index", "notes", "-d", "notes.db", "--chunk", 50), "cannot be mixed in"),
        (("index", "notes", "-d", "no/notes.db", "-m", other_model_file), "there is no folder no;"),
    ):
        done = jlocal(*arguments)
        assert (done.returncode, done.stdout) == (1, ""), arguments
        assert done.stderr.startswith("Error: ")
        assert message in done.stderr
        assert done.stderr.count("\n") == 1


def test_index_on_the_command_line(jlocal, notes: Path, model_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a.md").write_text("alpha")
    (folder / "b.bin").write_bytes(b"\0")
    base = tmp_path / "n.db"
    done = jlocal("index", folder, "-d", base, "-m", model_file)
    assert (done.returncode, done.stdout) == (0, "")
    model, counts, skipped = done.stderr.splitlines()
    assert model.startswith("  Model: ")
    assert counts.startswith("  1 of 1 file · 1 passage · ")
    assert skipped == "  Skipped 1 that is not text (b.bin)"
    # The collection's own model comes before that of the environment.
    arguments = ("index", folder, "-d", base, "--exclude", "*.bin")
    done = jlocal(*arguments, JLOCAL_MODEL="other.gguf")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("  1 of 1 file: 1 unchanged · ")
    assert jlocal(*arguments, "-q").stderr == ""
    done = jlocal("search", "x", JLOCAL_DATABASE=str(base))
    assert done.stdout.endswith("a.md:1\n   alpha\n")


def test_after_a_run_in_which_everything_failed(jlocal, model_file: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.bin").write_bytes(b"\0")
    for _ in range(2):
        done = jlocal("index", tmp_path / "bad.bin", "-d", tmp_path / "c.db", "-m", model_file)
        assert done.returncode == 1
        assert done.stderr.endswith("Error: 1 input was not indexed.\n")
