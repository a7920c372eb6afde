"""`jlocal search --in`: a part of a collection, or a folder that no collection knows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from jlocal.cli.scope import Scope
from jlocal.locations import cache_folder

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def jlocal(tmp_path: Path, user_folders: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a run in a folder with two folders of notes."""
    monkeypatch.setenv("JLOCAL_CACHE", str(user_folders / "cache"))
    for name, text in {
        "notes/travel/kyoto.md": "Cherry trees bloom in April.",
        "notes/travel/2023/oslo.md": "A ship in the fjord.",
        "notes/nas.md": "Two disks mirror each other.",
        "work/shop/login.py": "def check(password):\n    return hashed(password)\n",
        "work/shop/readme.txt": "Passwords are hashed.",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "jlocal", *arguments],
            capture_output=True, cwd=tmp_path, check=False, encoding="utf-8",
        )  # fmt: skip

    return run


def names(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stderr
    return sorted(Path(json.loads(line)["path"]).name for line in done.stdout.splitlines())


def kept() -> list[Path]:
    return sorted((cache_folder() / "folders").glob("*.db"))


@pytest.mark.slow
def test_a_folder_that_no_collection_knows_is_indexed_first(jlocal: Run, tmp_path: Path) -> None:
    arguments = ("search", "passwords", "--json", "--in", "work/shop")
    done = jlocal(*arguments)
    assert names(done) == ["login.py", "readme.txt"]
    assert f"Indexed 2 files in {tmp_path}/work/shop.\n" in done.stderr
    (collection,) = kept()
    assert collection.parent.stat().st_mode & 0o77 == 0
    # Nobody else finds them.
    assert "nothing is indexed yet" in jlocal("search", "passwords").stderr
    done = jlocal(*arguments, "--path", "*.py")
    assert names(done) == ["login.py"]
    assert "Indexed" not in done.stderr
    (tmp_path / "work/shop/login.py").unlink()
    (tmp_path / "work/shop/more.md").write_text("Passwords expire.")
    done = jlocal(*arguments, "-q")
    assert names(done) == ["more.md", "readme.txt"]
    assert "Indexed" not in done.stderr
    assert kept() == [collection]


@pytest.mark.slow
def test_a_part_of_a_collection(jlocal: Run, tmp_path: Path) -> None:
    assert jlocal("index", "notes", "-m", "starter").returncode == 0
    search = ("search", "where do trees bloom", "--json", "--in")
    assert names(jlocal(*search, "notes")) == ["kyoto.md", "nas.md", "oslo.md"]
    assert names(jlocal(*search, "notes/travel")) == ["kyoto.md", "oslo.md"]
    assert names(jlocal(*search, "notes/travel/kyoto.md")) == ["kyoto.md"]
    assert names(jlocal(*search, "notes/*/*.md")) == ["kyoto.md"]
    assert names(jlocal(*search, "notes/**/*.md")) == ["kyoto.md", "nas.md", "oslo.md"]
    assert names(jlocal(*search, "notes/travel", "--path", "2023")) == ["oslo.md"]
    (tmp_path / "link").symlink_to(tmp_path / "notes" / "travel")
    assert names(jlocal(*search, "link/2023")) == ["oslo.md"]
    assert kept() == []
    # Not all of this folder is in the collection.
    assert len(names(jlocal(*search, ".", "-n", "9"))) >= 5
    assert len(kept()) == 1


@pytest.mark.slow
def test_what_cannot_be_searched_is_said(jlocal: Run, tmp_path: Path) -> None:
    done = jlocal("search", "x", "--in", "work/none")
    assert done.returncode == 2
    assert "--in names no file or folder: work/none" in done.stderr
    (tmp_path / "empty").mkdir()
    done = jlocal("search", "x", "--in", "empty")
    assert done.returncode == 1
    assert done.stderr.endswith(f"Error: there is no text in {tmp_path}/empty\n")
    done = jlocal("search", "x", "--in", "work/*.pdf")
    assert "there is no text in" in done.stderr
    (tmp_path / "torn.md").write_bytes(b"A note that a crash\0\0\0\0 has torn.")
    done = jlocal("search", "x", "--in", "torn.md")
    assert done.returncode == 1
    assert "torn.md: not text: it contains NUL characters" in done.stderr


@pytest.mark.slow
def test_files_that_a_glob_no_longer_fits_are_not_found(jlocal: Run, tmp_path: Path) -> None:
    arguments = ("search", "ship", "--json", "--in", "notes/travel/*/*.md")
    assert names(jlocal(*arguments)) == ["oslo.md"]
    (tmp_path / "notes/travel/2023/oslo.md").rename(tmp_path / "notes/travel/2023/bergen.md")
    assert names(jlocal(*arguments)) == ["bergen.md"]
    (tmp_path / "notes/travel/2023/bergen.md").unlink()
    done = jlocal(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no text in" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="links and pipes")
@pytest.mark.parametrize("what", ["a link", "a pipe", "no collection", "a link to nothing"])
def test_what_lies_in_the_cache_is_not_trusted(jlocal: Run, tmp_path: Path, what: str) -> None:
    """A link leads to another collection, into which nothing may be written."""
    arguments = ("search", "passwords", "--json", "--in", "work/shop")
    names(jlocal(*arguments))
    (cached,) = kept()
    cached.unlink()
    cached.parent.chmod(0o777)
    other = tmp_path / "other.db"
    if what == "a link":
        jlocal("index", "notes", "-d", str(other))
        cached.symlink_to(other)
    elif what == "a link to nothing":
        cached.symlink_to(other)
    elif what == "a pipe":
        os.mkfifo(cached)
    else:
        cached.write_text("something else")
    before = other.read_bytes() if other.exists() else None
    assert names(jlocal(*arguments)) == ["login.py", "readme.txt"]
    assert (other.read_bytes() if other.exists() else None) == before
    assert cached.is_file()
    assert not cached.is_symlink()
    assert (cached.stat().st_mode & 0o77, cached.parent.stat().st_mode & 0o77) == (0, 0)


@pytest.mark.slow
def test_only_the_last_ten_folders_are_kept(jlocal: Run, tmp_path: Path) -> None:
    folder = cache_folder() / "folders"
    folder.mkdir(parents=True)
    for number in range(12):
        (folder / f"{number}.db").touch()
        (folder / f"{number}.db-wal").touch()
        os.utime(folder / f"{number}.db", (number, number))
    assert jlocal("search", "x", "--in", "notes").returncode == 0
    assert len(kept()) == 10
    assert not (folder / "0.db").exists()
    assert not (folder / "0.db-wal").exists()
    assert (folder / "11.db").exists()


@pytest.mark.parametrize(
    ("glob", "path", "is_meant"),
    [
        ("*.md", "a.md", True),
        ("*.md", "sub/a.md", False),
        ("**/*.md", "a.md", True),
        ("**/*.md", "sub/deep/a.md", True),
        ("20*", "2023/trip/a.md", True),
        ("?.md", "a.md", True),
        ("?.md", "ab.md", False),
        ("[ab].md", "b.md", True),
        ("[!ab].md", "b.md", False),
        ("[z-a].md", "b.md", False),
        ("a.m(d", "a.m(d", True),
        ("**", "sub/a.md", True),
        ("sub/**", "sub/deep/a.md", True),
        ("**/deep/**/*.md", "sub/deep/a.md", True),
        ("**/deep/*/*.md", "sub/deep/a.md", False),
        ("caf\u00e9*", "cafe\u0301 au lait.md", True),
        ("cafe\u0301*", "caf\u00e9.md", True),
    ],
)
def test_globs(glob: str, path: str, is_meant: bool) -> None:
    assert Scope("/root", glob).holds(f"/root/{path}") == is_meant
    assert not Scope("/root", glob).holds(f"/other/{path}")


def test_scopes(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "a [1]").mkdir()
    (tmp_path / "a [1]" / "x.md").touch()
    monkeypatch.chdir(tmp_path)
    # A name that exists is no glob.
    assert Scope.of("a [1]") == Scope(f"{tmp_path}/a [1]")
    assert Scope.of("a*/x.md") == Scope(str(tmp_path), "a*/x.md")
    assert Scope.of("a*/x.md").paths() == [f"{tmp_path}/a [1]/x.md"]
    assert Scope("/d/e").among(["/d"]) == Scope("/d/e")
    assert Scope("/d").among(["/d/e", "/dd"]) is None
    assert Scope("/d/e").among(["/"]) == Scope("/d/e")
    assert Scope("/").holds("/etc/passwd")
    assert not Scope("/d").holds("/de")


@pytest.mark.parametrize("glob", ["*a" * 17 + "b", "**/a/" * 30 + "b", "**/" * 30 + "b", "*/" * 60])
def test_no_glob_takes_long(glob: str, tmp_path: Path) -> None:
    (tmp_path / ("a" * 200)).touch()
    (tmp_path / Path(*"a" * 40)).mkdir(parents=True)
    # Each folder leads to each other.
    for name in "xyz":
        (tmp_path / name).mkdir()
    for name in "xyz":
        for other in "xyz":
            (tmp_path / name / f"a{other}").symlink_to(tmp_path / other)
    scope = Scope(str(tmp_path), glob)
    start = time.monotonic()
    assert scope.paths() == []
    assert not scope.holds(f"{tmp_path}/{'a' * 200}")
    assert not scope.holds(f"{tmp_path}/{'a/' * 40}")
    assert time.monotonic() - start < 20


def test_composed_and_decomposed_names_are_equal(tmp_path: Path) -> None:
    """Some systems write é as e and an accent, and keyboards do not."""
    folder = tmp_path / "Mu\u0308nchen"
    folder.mkdir()
    (folder / "cafe\u0301.md").touch()
    assert Scope.of(f"{tmp_path}/M\u00fcnchen") == Scope(str(folder))
    assert Scope.of(f"{tmp_path}/M\u00fcnchen/caf\u00e9.md") == Scope(str(folder / "cafe\u0301.md"))
    for glob in ("M\u00fcnchen/caf\u00e9.*", "M?nchen/*", "**/caf\u00e9.md"):
        assert Scope.of(f"{tmp_path}/{glob}").paths() == [str(folder / "cafe\u0301.md")]


def test_hidden_entries_are_matched_by_a_point_alone(tmp_path: Path) -> None:
    for name in (".git/a.md", "sub/.b.md", "sub/c.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert Scope(str(tmp_path), "**/*.md").paths() == [f"{tmp_path}/sub/c.md"]
    assert Scope(str(tmp_path), ".git/*").paths() == [f"{tmp_path}/.git/a.md"]
    assert Scope(str(tmp_path), "sub/**").paths() == [f"{tmp_path}/sub"]
