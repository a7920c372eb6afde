"""The rules of .gitignore, beside git itself."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
import tracemalloc
from pathlib import Path

import pytest

from jlocal.inputs.documents import Unreadable
from jlocal.inputs.gitignore import Rules
from jlocal.inputs.selection import matches
from jlocal.inputs.walk import find_files

NAMES = (
    *("a", "b", "ab", "abc", "a b", "z ", "x.log", "x.txt", "#c", "!d", "foo", "foobar", "fooX"),
    *(
        "é",
        "é.txt",
        "日本",
        "-",
        "]",
        "[a]",
        "a]",
        "[:alpha:]",
        "A",
        "1",
        "_",
        "^",
        "*",
        "a*",
        "a\\b",
    ),
    *("\\", "\t", "a.b.c", os.fsdecode(b"\xff")),
)
PIECES = (
    *("*", "**", "***", "?", "/", "**/", "/**", "/**/", "\\/", "a", "b", "c", "foo", ".log", "x"),
    *("[ab]", "[!a]", "[^a-c]", "[a-", "[z-a]", "[]]", "[!]]", "[]-a]", "[-a]", "[a-]", "[[]"),
    *("[[:alpha:]]", "[[:digit:]x]", "[[:bad:]]", "[[:", "[[:]", "[[:alpha:]-z]", "[é]", "[/]"),
    *(
        "[a/]",
        "[!/]",
        "[a\\]]",
        "[\\\\]",
        "\\",
        "\\*",
        "\\#",
        "\\!",
        "\\ ",
        " ",
        "  ",
        "\t",
        "!",
        "#",
    ),
    *("é", "日", "a b", "]", "^", "\r", "\0", "\ufeff"),
)


def some_file(rng: random.Random) -> bytes:
    lines = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        pattern = "".join(rng.choices(PIECES, k=rng.choice((1, 1, 2, 2, 3, 4, 5))))
        start, end = rng.choice(("", "", "!", "/")), rng.choice(("", "", "", "/"))
        lines.append(f"{start}{pattern}{end}")
    line_break = rng.choice(("\n", "\n", "\r\n"))
    text = rng.choice(("", "", "\ufeff")) + line_break.join(lines) + rng.choice(("", line_break))
    return text.encode()


def is_ignored(rules: Rules, path: str, folder: bool) -> bool:
    """Tell whether a path, or a folder that it is in, is ignored."""
    verdict = None
    parts = path.split("/")
    for end in range(1, len(parts) + 1):
        is_last = end == len(parts)
        part = os.fsencode("/".join(parts[:end]))
        verdict = rules.is_ignored(part, folder=folder or not is_last)
        if verdict:
            return True
    return bool(verdict)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("git"), reason="git says what is right")
def test_every_verdict_is_that_of_git(tmp_path: Path) -> None:
    rng = random.Random(14)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    for _ in range(120):
        path = tmp_path.joinpath(*rng.choices(NAMES, k=rng.choice((1, 1, 2, 3))))
        if not any(parent.is_file() for parent in path.parents) and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    paths = {
        path.relative_to(tmp_path).as_posix(): path.is_dir()
        for path in tmp_path.rglob("*")
        if ".git" not in path.parts
    }
    names = b"".join(b"./" + os.fsencode(path) + b"\0" for path in paths)
    for _ in range(400):
        data = some_file(rng)
        (tmp_path / ".gitignore").write_bytes(data)
        done = subprocess.run(
            ["git", "-C", tmp_path, "check-ignore", "-z", "--no-index", "--stdin"],
            input=names,
            capture_output=True,
            check=False,
        )
        assert done.returncode in (0, 1)
        ignored = {os.fsdecode(path)[2:] for path in done.stdout.split(b"\0") if path}
        rules = Rules(data)
        ours = {path for path, folder in paths.items() if is_ignored(rules, path, folder)}
        assert ours == ignored, data


@pytest.mark.parametrize(
    "line",
    ["", "!", "\\", "/", "//", "!/", "[", "[]", "[!]", "[a", "a\\", "   ", "[[:no:]]", "#", "\0"],
)
def test_a_line_that_is_no_pattern_has_no_effect(line: str) -> None:
    rules = Rules(f"{line}\n*.log\n{line}\n".encode())
    assert rules.is_ignored(b"a.md", folder=False) is None
    assert rules.is_ignored(b"a.log", folder=False) is True
    assert rules.is_ignored(b"a", folder=True) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    "pattern",
    [
        "*a" * 17 + "z",
        "**/a" * 30,
        "**/a/" * 30 + "z",
        "*" * 100_000 + "z",
        "*a" * 100_000,
        "a*" * 10_000 + "z",
        "[a-z]*" * 5000 + "!",
        "?*" * 2000 + "z",
        "**/*" * 500 + "/z",
        "(a+)+" * 100,
    ],
)
def test_no_pattern_takes_long(pattern: str) -> None:
    start = time.monotonic()
    rules = Rules(pattern.encode())
    for path in (b"a" * 255, b"/".join([b"a" * 200] * 20), b"a/" * 2000 + b"b"):
        rules.is_ignored(path, folder=False)
    assert time.monotonic() - start < 20


@pytest.mark.slow
def test_many_patterns_keep_little_in_memory() -> None:
    rng = random.Random(1)
    lines = ("*".join(rng.choices("abmd", k=25)) + "q" for _ in range(500))
    rules = Rules("\n".join(lines).encode())
    tracemalloc.start()
    for _ in range(40):
        rules.is_ignored(bytes(rng.choices(b"abmd", k=120)), folder=False)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 10_000_000


def test_no_glob_takes_long() -> None:
    start = time.monotonic()
    for glob in ("*a" * 17 + "z", "*a" * 500 + "z", "*?[a-z]" * 60 + "z", "*" * 10_000 + "z"):
        assert not matches("a" * 255, [glob])
        assert not matches("a/" * 2000 + "b", [f"*/{glob}"])
    assert time.monotonic() - start < 20


def names_in(folder: Path) -> tuple[list[str], dict[str, str]]:
    items = list(find_files([folder], gitignore=True))
    reported = {Path(i.id).name: i.reason for i in items if isinstance(i, Unreadable)}
    return [i.name for i in items if isinstance(i, Path)], reported


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "link", "dangling"])
def test_a_gitignore_that_is_no_file(kind: str, tmp_path: Path) -> None:
    (tmp_path / "a.md").touch()
    (tmp_path / "b.log").touch()
    path = tmp_path / ".gitignore"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "dangling":
        path.symlink_to("nothing")
    else:
        (tmp_path / ".rules").write_text("*.log")
        path.symlink_to(".rules")
    names, reported = names_in(tmp_path)
    assert names == (["a.md"] if kind == "link" else ["a.md", "b.log"])
    assert set(reported) == ({".gitignore"} if kind in ("pipe", "device") else set())
    assert all("its rules are not followed" in reason for reason in reported.values())


def test_a_folder_whose_gitignore_is_too_large_is_left_out(tmp_path: Path) -> None:
    for name in ("a.md", "sub/b.md", "sub/.gitignore"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x" * 1_048_577)
    names, reported = names_in(tmp_path)
    assert names == ["a.md"]
    assert reported == {"sub": "its .gitignore: it has more than 1,048,576 bytes"}
