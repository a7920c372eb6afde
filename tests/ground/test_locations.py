"""Where models, caches and collections lie, and what names a collection."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest
from platformdirs.macos import MacOS
from platformdirs.unix import Unix
from platformdirs.windows import Windows

from jlocal import Collection, Embedder
from jlocal.collection.names import check_name, collection_path, collections, name_of
from jlocal.errors import ArgumentError
from jlocal.locations import cache_folder, home


@pytest.fixture
def jlocal(tmp_path: Path):
    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "jlocal", *map(str, arguments)],
            cwd=tmp_path, env=os.environ | environment, capture_output=True, text=True,
            check=False, timeout=120,
        )  # fmt: skip

    return run


def test_files_stay_where_earlier_versions_put_them(user_folders, monkeypatch, tmp_path) -> None:
    monkeypatch.delenv("JLOCAL_CACHE")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platformdirs, "PlatformDirs", Unix)
    assert home() == user_folders / "data" / "jlocal"
    assert cache_folder() == user_folders / "cache" / "jlocal"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert home() == user_folders / ".local" / "share" / "jlocal"
    assert cache_folder() == user_folders / ".cache" / "jlocal"

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(platformdirs, "PlatformDirs", MacOS)
    assert home() == user_folders / "Library" / "Application Support" / "jlocal"
    assert cache_folder() == user_folders / "Library" / "Caches" / "jlocal"
    home().mkdir(parents=True)
    former = home()
    monkeypatch.setenv("XDG_DATA_HOME", str(user_folders / "data"))
    assert home() == former

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(platformdirs, "PlatformDirs", Windows)
    monkeypatch.setattr("platformdirs.windows._RESOLVE_WIN_FOLDER", lambda _: str(user_folders))
    assert home() == user_folders / "jlocal"
    assert cache_folder() == user_folders / "jlocal" / "Cache"

    monkeypatch.setenv("JLOCAL_HOME", str(tmp_path))
    monkeypatch.setenv("JLOCAL_CACHE", "~/made-again")
    assert home() == tmp_path
    assert cache_folder() == user_folders / "made-again"


def test_a_name_or_a_path(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    named = home() / "collections"
    assert collection_path() == collection_path("default") == named / "default.db"
    assert collection_path("work") == named / "work.db"
    assert collection_path("v1.2 (old)") == named / "v1.2 (old).db"
    assert collection_path("Bu\u0308cher") == named / "B\u00fccher.db"
    for path in ("./work", "a/work", "work.db", "work.SQLITE", str(tmp_path / "work")):
        assert collection_path(path) == Path(path)
    assert collection_path(Path("work")) == Path("work")
    # A note is no collection, and a folder is none either; an SQLite file may be one.
    (tmp_path / "work").write_text("to do")
    (tmp_path / "default").mkdir()
    assert collection_path("work") == named / "work.db"
    assert collection_path("default") == named / "default.db"
    (tmp_path / "work").write_bytes(b"SQLite format 3\0" + bytes(84))
    assert collection_path("work") == Path("work")


BAD = ["", ".hidden", "-x", "~", "a\nb", "a\0b", "a:b", "nul", "COM1", "aux.txt", "x ", "x.", " x",
       "a?", "a" * 101, "\udcff", "\x9b31m"]  # fmt: skip


@pytest.mark.parametrize("name", BAD, ids=ascii)
def test_names_that_some_system_cannot_have(name: str) -> None:
    with pytest.raises(ArgumentError, match="cannot be the name of a collection"):
        check_name(name)


def test_a_bad_name_is_wrong_usage(jlocal) -> None:
    done = jlocal("search", "x", "-d", "nul")
    assert done.returncode == 2
    assert "Windows reserves it" in done.stderr


def test_which_file_has_a_name(tmp_path: Path) -> None:
    assert name_of(collection_path("work")) == "work"
    assert name_of(tmp_path / "work.db") is None
    assert name_of(collection_path("work").with_suffix(".db-wal")) is None
    assert collections() == {}


def test_a_collection_without_a_path_is_the_default_one(model: Embedder, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("alpha")
    with Collection(model=model) as collection, Collection("work", model) as work:
        assert collection.index(tmp_path / "a.md").new == 1
        assert work.index(tmp_path / "a.md").new == 1
    folder = home() / "collections"
    assert collections() == {"default": folder / "default.db", "work": folder / "work.db"}
    if os.name == "posix":
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    # What else lies there is left alone; a folder in place of a collection is listed, to be told.
    (folder / "notes.txt").touch()
    (folder / "nul.db").touch()
    (folder / "other.db").mkdir()
    assert list(collections()) == ["default", "other", "work"]


@pytest.mark.slow
def test_the_first_minute_names_no_collection(jlocal, model_file: Path, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("alpha")
    for arguments in (["search", "x"], ["export", "-o", "x.npz"], ["map", "-o", "x.html"]):
        done = jlocal(*arguments)
        message = "Error: nothing is indexed yet; begin with: jlocal index FOLDER\n"
        assert (done.returncode, done.stdout, done.stderr) == (1, "", message)
    assert jlocal("index", "a.md", "-m", model_file).returncode == 0
    assert "alpha" in jlocal("search", "x").stdout
    # The one that JLOCAL_DATABASE names needs no -d.
    done = jlocal("search", "x", JLOCAL_DATABASE="work")
    assert done.stderr.endswith("named work; make it with: jlocal index FOLDER\n")


@pytest.mark.slow
def test_did_you_mean(jlocal, model: Embedder, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("alpha")
    with Collection("work", model) as collection:
        collection.index(tmp_path / "a.md")
    done = jlocal("search", "x", "-d", "wrok")
    assert done.stderr == "Error: there is no collection named wrok; did you mean work?\n"
    done = jlocal("search", "x", "-d", "poems")
    assert done.stderr.endswith("make it with: jlocal index FOLDER -d poems\n")
    done = jlocal("search", "x", "-d", "two words.db")
    assert done.stderr.endswith("make it with: jlocal index FOLDER -d 'two words.db'\n")


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="modes")
def test_nobody_else_may_write_what_is_made_where_the_umask_allows_it(
    jlocal, tmp_path: Path, model_file: Path
) -> None:
    for name in ("note.md", "other.md"):
        (tmp_path / name).write_text("A note about water.")
    places = {"JLOCAL_HOME": "data/jlocal", "JLOCAL_CACHE": "cache/jlocal"}
    environment = {name: str(tmp_path / place) for name, place in places.items()}
    before = os.umask(0)
    try:
        done = jlocal("index", "note.md", "-m", model_file, **environment)
        jlocal("search", "water", "--in", "other.md", **environment)
    finally:
        os.umask(before)
    assert done.returncode == 0
    made = [path for place in ("data", "cache") for path in (tmp_path / place).rglob("*")]
    folders = [tmp_path / "data", tmp_path / "cache", *filter(Path.is_dir, made)]
    assert {path.name for path in folders} >= {"collections", "loaded", "folders"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}


@pytest.mark.slow
@pytest.mark.parametrize("variable", ["JLOCAL_HOME", "JLOCAL_CACHE"])
def test_a_variable_that_names_a_file_is_explained(
    jlocal, tmp_path: Path, model_file: Path, variable: str
) -> None:
    (tmp_path / "file").write_text("no folder")
    environment = {variable: str(tmp_path / "file")}
    done = jlocal("index", tmp_path / "file", "-m", model_file, **environment)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"Error: {variable} names a file, {tmp_path / 'file'}; name a folder, or unset it"
    )
    assert "Traceback" not in done.stderr
