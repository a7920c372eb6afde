"""Walking folders: each file once, whatever paths and links lead to it."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from jlocal.inputs.documents import Document, Unreadable, read_file
from jlocal.inputs.walk import find_files

# Enough for any of these on a busy machine; what is wrong would take for ever.
pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(name)


def link(name: str, target: str) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).symlink_to(target)


def found(*paths: str, include: Sequence[str] = (), **options: object) -> list[str]:
    """List what is found; what is reported begins with an exclamation mark."""
    items = find_files(paths, include, **options)
    return [f"!{i.id}: {i.reason}" if isinstance(i, Unreadable) else i.as_posix() for i in items]


def test_names_that_cannot_be_files(tmp_path: Path) -> None:
    for name in ("x" * 300, "\0"):
        (item,) = (
            item if isinstance(item, Unreadable) else read_file(item) for item in find_files([name])
        )
        assert isinstance(item, Unreadable)
    (item,) = find_files([tmp_path], ["*.md"])
    assert item == Unreadable(str(tmp_path), "no file in it matches")


def test_folders_are_walked_in_order(tmp_path: Path) -> None:
    for name in ("b.txt", "a.md", "sub/c.md", ".hidden/d.md", ".e.md"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)

    def found(*include: str) -> list[str]:
        return [
            str(Path(str(path)).relative_to(tmp_path)) for path in find_files([tmp_path], include)
        ]

    assert found() == ["a.md", "b.txt", "sub/c.md"]
    assert found("*.md") == ["a.md", "sub/c.md"]
    assert found("sub/*") == ["sub/c.md"]
    assert list(find_files([tmp_path / ".e.md"], ["*.txt"])) == [tmp_path / ".e.md"]


def test_a_link_to_a_file_that_is_found_is_no_second_document() -> None:
    write("folder/a.txt", "folder/.hidden.txt", "elsewhere.txt")
    link("folder/0.txt", "a.txt")
    link("folder/outside.txt", "../elsewhere.txt")
    link("folder/outside-too.txt", "outside.txt")
    link("folder/shown.txt", ".hidden.txt")
    assert found("folder") == [
        "folder/a.txt",
        "folder/outside-too.txt",
        "folder/shown.txt",
    ]


def test_links_that_lead_nowhere_are_reported_and_loops_end() -> None:
    write("folder/a.txt")
    link("folder/dangling", "nowhere")
    link("folder/loop", "../folder")
    link("folder/self", "self")
    link("folder/zero", "/dev/zero")
    os.mkfifo("folder/pipe")
    items = [i if isinstance(i, Unreadable) else read_file(i) for i in find_files(["folder"])]
    assert [item.id for item in items if isinstance(item, Document)] == ["folder/a.txt"]
    reasons = {Path(item.id).name: item.reason for item in items if isinstance(item, Unreadable)}
    assert set(reasons) == {"dangling", "pipe", "self", "zero"}
    assert "No such file" in reasons["dangling"]
    assert "regular" in reasons["zero"]
    assert "regular" in reasons["pipe"]


@pytest.mark.slow
def test_a_mesh_of_linked_folders_has_as_many_documents_as_files() -> None:
    names = [f"mesh/pkg{number:02}" for number in range(40)]
    write(*(f"{name}/readme.md" for name in names))
    for one, other in itertools.permutations(names, 2):
        link(f"{one}/deps/{Path(other).name}", f"../../../{other}")
    assert found("mesh") == [f"{name}/readme.md" for name in names]
    # From one of them the others are reached through links, each once.
    one = found("mesh/pkg00")
    assert one == ["mesh/pkg00/readme.md"] + [
        f"mesh/pkg00/deps/pkg{number:02}/readme.md" for number in range(1, 40)
    ]


def test_a_real_folder_counts_before_a_link_to_it() -> None:
    write("real/a.txt", "real/sub/b.txt", "notes/c.txt")
    link("a-link", "real")
    link("notes/0-link", "../real/sub")
    own = ["real/a.txt", "real/sub/b.txt", "notes/c.txt"]
    for order in itertools.permutations(["a-link", "real", "notes"]):
        assert sorted(found(*order)) == sorted(own)
    assert found("a-link") == ["a-link/a.txt", "a-link/sub/b.txt"]
    assert found("notes", "a-link") == ["notes/c.txt", "a-link/a.txt", "a-link/sub/b.txt"]
    assert found(".") == ["notes/c.txt", "real/a.txt", "real/sub/b.txt"]


def test_the_order_of_the_file_system_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    write(*(f"folder/{name}/x.txt" for name in "abc"))
    for name in "abc":
        link(f"folder/0{name}", name)
        link(f"folder/{name}/up", "..")
    expected = found("folder")
    real = os.scandir

    class Backwards:
        def __init__(self, path: Path) -> None:
            with real(path) as entries:
                self._entries = list(entries)[::-1]

        def __enter__(self) -> list[os.DirEntry[str]]:
            return self._entries

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(os, "scandir", Backwards)
    assert found("folder") == expected == [f"folder/{name}/x.txt" for name in "abc"]


def test_what_is_named_twice_is_found_once() -> None:
    write("notes/a.txt", "notes/sub/b.txt")
    link("to-a", "notes/a.txt")
    absolute = str(Path("notes").absolute())
    both = ["notes/a.txt", "notes/sub/b.txt"]
    assert found("notes", "notes/", "./notes/../notes", absolute) == both
    assert found("notes/sub", "notes") == both[::-1]
    assert found("notes/a.txt", "notes", "notes/sub/../a.txt") == both
    assert found("notes", "to-a", "to-a") == ["notes/sub/b.txt", "to-a"]
    assert found("to-a", "notes/a.txt") == ["notes/a.txt"]


def test_a_folder_in_another_is_chosen_by_the_globs_of_both() -> None:
    write("notes/sub/a.txt", "notes/sub/b.md")
    globs = ["sub/*.txt", "*.md"]
    assert found("notes/sub", "notes", include=globs) == ["notes/sub/b.md", "notes/sub/a.txt"]


def test_hard_links_are_files_of_their_own() -> None:
    write("folder/a.txt")
    Path("folder/b.txt").hardlink_to("folder/a.txt")
    link("folder/c.txt", "b.txt")
    assert found("folder") == ["folder/a.txt", "folder/b.txt"]


def test_links_follow_the_rules_of_where_they_are() -> None:
    write("out/a.md", "out/b.txt", "out/.gitignore", "notes/c.md", "notes/.gitignore")
    Path("out/.gitignore").write_text("a.*")
    Path("notes/.gitignore").write_text("*.txt\nskipped")
    link("notes/link", "../out")
    link("notes/skipped", "../out")
    assert found("notes") == ["notes/c.md", "notes/link/a.md", "notes/link/b.txt"]
    assert found("notes", gitignore=True) == ["notes/c.md"]
    Path("out/.gitignore").unlink()
    assert found("notes", gitignore=True) == ["notes/c.md", "notes/link/a.md"]


@pytest.mark.slow
def test_a_folder_deeper_than_the_stack_of_python() -> None:
    depth = 1500
    folder = os.open(".", os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=folder)
        inner = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(os.open("a.txt", os.O_CREAT, dir_fd=folder))
    os.close(folder)
    try:
        assert found("d") == ["d/" * depth + "a.txt"]
    finally:
        # Python's own means of removing folders, which pytest uses, are recursive.
        subprocess.run(["rm", "-rf", "d"], check=True)


NFC, NFD = (unicodedata.normalize(form, "Entwürfe für Zoë") for form in ("NFC", "NFD"))


@pytest.mark.parametrize("name", [NFC, NFD])
@pytest.mark.parametrize("glob", [NFC, NFD])
def test_globs_find_composed_and_decomposed_names(name: str, glob: str) -> None:
    write(f"notes/{name}/{name}.md", "notes/a.md")
    path = f"notes/{name}/{name}.md"
    assert found("notes", include=[f"{glob}.md"]) == [path]
    assert found("notes", include=[f"*/{glob.split()[0]}*"]) == [path]
    assert found("notes", exclude=[glob]) == ["notes/a.md"]


def as_somebody_else(work: Callable[[], list[str]]) -> list[str]:
    """Do something in a process that may not read everything, as root may."""
    read, write = os.pipe()
    if not (child := os.fork()):
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            said = work()
        except BaseException as error:
            said = [repr(error)]
        os.write(write, json.dumps(said).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        said = json.load(file)
    os.waitpid(child, 0)
    return said


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs another user")
@pytest.mark.parametrize("mode", [0o000, 0o444, 0o111, 0o666])
@pytest.mark.parametrize("gitignore", [False, True])
def test_a_folder_that_may_not_be_read_is_reported(tmp_path: Path, mode, gitignore) -> None:
    write("n/a.md", "n/sub/b.md", "n/sub/c/d.md")
    tmp_path.chmod(0o755)
    for folder in ("n/sub", "n"):
        Path(folder).chmod(mode)
        said = as_somebody_else(lambda: found("n", gitignore=gitignore))
        Path(folder).chmod(0o755)
        reports = [line for line in said if line.startswith("!")]
        assert reports or any(line.startswith(f"{folder}/") for line in said), said
        assert all(line.startswith(f"!{folder}") and "denied" in line for line in reports)
        # Names can be listed, and whoever tries to read the files will be told.
        is_listed = mode & 0o444 and not gitignore
        assert ("n/a.md" in said) == bool(folder == "n/sub" or is_listed)
