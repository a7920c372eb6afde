"""The screen of `jlocal search`: what fits on it, what stands where, and what it may show."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pexpect
import pytest
from wcwidth import wcswidth

from jlocal import Hit
from jlocal.cli.display.hits import near, show
from jlocal.cli.display.screen import Screen
from jlocal.cli.opener import opening
from jlocal.collection.location import Location

SCREEN = Screen(
    is_terminal=True, columns=80, rows=24, has_color=False, has_links=False, is_unicode=True
)
LONG = Hit(
    "/somewhere/" + "a long folder/" * 9 + "and a name.md",
    *(1234, 1250, 0.5),
    "A sentence of a backup that goes on for a while, and for a while more. " * 40,
    headings=("An outer heading " * 5, "The inner one " * 9),
    relevance=0.61,
    others=tuple(Location(f"/somewhere/else/{number}.md", 0, 7, 9) for number in range(40)),
    state="changed",
)
WIDE = dataclasses.replace(
    LONG, path="/" + "火星/" * 40 + "👩‍💻.md", text="火星是红色的。" * 99, headings=("日本" * 40,)
)


def printed(hits: list[Hit], query: str, screen: Screen, capsys, advice: str = "") -> list[str]:
    show(hits, query, screen, advice)
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (100, 40), (40, 24), (80, 12), (40, 10)])
@pytest.mark.parametrize("hit", [LONG, WIDE], ids=["long", "wide"])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_five_hits_fit_the_screen(columns, rows, hit, encoding, capsys) -> None:
    is_unicode = encoding == "utf-8"
    screen = dataclasses.replace(
        SCREEN, columns=columns, rows=rows, is_unicode=is_unicode, encoding=encoding
    )
    lines = printed([hit] * 5, "backup", screen, capsys, "Advice " * 40)
    # The command above, and the next prompt below.
    assert len(lines) <= rows - 2
    assert max(map(wcswidth, lines)) <= columns
    heads = [line for line in lines if re.match(r"[1-5]  ", line)]
    assert len(heads) == 5
    if is_unicode:
        assert all(line.endswith("●●●●○") for line in heads)
    else:
        assert all(line.endswith("0.61") for line in heads)
        assert "".join(lines).encode(encoding)


def test_the_line_above_an_excerpt(capsys) -> None:
    hit = Hit("/d/notes/nas.md", 7, 9, 0.5, "Two disks.", headings=("NAS", "Disks"), relevance=0.8)
    assert printed([hit], "disks", SCREEN, capsys) == [
        "1  /d/notes/nas.md:7 › NAS › Disks" + " " * 41 + "●●●●○",
        "   Two disks.",
    ]
    # The innermost heading stays longest, then the name of the file.
    for columns, head in (
        (40, "1  /d/notes/nas.md:7 › Disks       ●●●●○"),
        (28, "1  /d/notes/nas.md:7   ●●●●○"),
        (26, "1  …d/notes/nas.md:7  ●●●●○"),
    ):
        screen = dataclasses.replace(SCREEN, columns=columns)
        line = printed([hit], "disks", screen, capsys)[0]
        assert line == head or columns == 26
        assert "nas.md:7" in line
    page = dataclasses.replace(hit, path="/d/a.pdf", first_line=None, page=3, state="missing")
    assert printed([page], "x", SCREEN, capsys)[0].startswith("1  /d/a.pdf p. 3 (missing) › NAS")
    changed = dataclasses.replace(hit, state="changed")
    assert " (changed since) " in printed([changed], "x", SCREEN, capsys)[0]


def test_a_text_without_a_file_has_its_id(capsys) -> None:
    screen = dataclasses.replace(SCREEN, has_color=True, has_links=True)
    hit = Hit("faq/\x1b7", 1, 1, 0.5, "text", id="faq/\x1b7")
    head = printed([hit], "x", screen, capsys)[0]
    assert "faq/\ufffd7" in head
    assert "\x1b]8" not in head
    assert ":1" not in head


def test_more_places_of_a_passage(capsys) -> None:
    others = (Location("/d/b.md", 0, 3, 4), Location("/d/c.pdf", 1, 1, 1))
    hit = Hit("/d/a.md", 1, 2, 0.5, "text", others=others)
    assert printed([hit], "x", SCREEN, capsys)[2] == "   also in /d/b.md:3, /d/c.pdf p. 2"
    lines = printed([LONG] * 5, "x", SCREEN, capsys)
    assert (
        sum(bool(re.fullmatch(r"   also in /.*\.md:7 and \d\d more", line)) for line in lines) == 5
    )


def test_a_pipe_gets_whole_paths_and_numbers(capsys) -> None:
    piped = dataclasses.replace(SCREEN, is_terminal=False)
    lines = printed([LONG, WIDE], "backup", piped, capsys, "advice")
    assert lines[0].startswith(f"1  0.61  {LONG.path}:1234 (changed since) › An outer")
    assert "advice" not in lines
    assert len(lines) == 8


def test_words_and_paths_are_marked(capsys) -> None:
    hit = Hit("/d/a.md", 1, 2, 0.5, "A backup plan", headings=("Backup",))
    screen = dataclasses.replace(SCREEN, has_color=True, has_links=True)
    head, text = printed([hit], "backups", screen, capsys)
    assert "\x1b[1m\x1b[4mBackup\x1b[0m" in head
    assert text == "   A \x1b[1m\x1b[4mbackup\x1b[0m plan"
    ours = re.sub(r"\x1b\[[\d;]*m|\x1b\]8;;[^\x1b\x07]*\x1b\\", "", head + text)
    assert "\x1b" not in ours
    codes = {
        int(code) for codes in re.findall(r"\x1b\[([\d;]*)m", head) for code in codes.split(";")
    }
    # Neither black, white nor yellow, which one kind of terminal or the other does not show.
    assert not codes & {30, 33, 37, 90, 93, 97}


def test_links_lead_to_the_file(capsys) -> None:
    path = os.fsdecode("/d/ü %\x1b]8;;evil\x07 #?\n".encode() + b"\xff.md")
    screen = dataclasses.replace(SCREEN, has_color=True, has_links=True)
    head = printed([Hit(path, 1, 2, 0.5, "x")], "y", screen, capsys)[0]
    (url, _), _ = re.findall(r"\x1b\]8;;([^\x1b]*)\x1b\\([^\x1b]*)", head)
    assert url.isascii()
    assert url.isprintable()
    parts = urlsplit(url)
    assert parts.scheme == "file"
    assert parts.netloc
    assert (parts.query, parts.fragment) == ("", "")
    assert os.fsencode(path) == unquote(parts.path, errors="surrogateescape").encode(
        errors="surrogateescape"
    )


@pytest.mark.parametrize(
    ("choice", "environment", "is_terminal", "expected"),
    [
        ("auto", {}, True, True),
        ("auto", {}, False, False),
        ("auto", {"NO_COLOR": "1"}, True, False),
        ("auto", {"NO_COLOR": ""}, True, True),
        ("auto", {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False, False),
        ("auto", {"FORCE_COLOR": "1"}, False, True),
        ("auto", {"FORCE_COLOR": "0"}, True, False),
        ("auto", {"CLICOLOR_FORCE": "1"}, False, True),
        ("auto", {"CLICOLOR": "0"}, True, False),
        ("auto", {"TERM": "dumb"}, True, False),
        ("always", {"NO_COLOR": "1"}, False, True),
        ("never", {"FORCE_COLOR": "1"}, True, False),
    ],
)
def test_colors(choice, environment, is_terminal, expected, monkeypatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "FORCE_HYPERLINK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm", **environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal, raising=False)
    screen = Screen.of_stdout(choice)
    assert screen.has_color == expected
    assert screen.has_links == (expected and is_terminal)
    monkeypatch.setenv("FORCE_HYPERLINK", "1")
    assert Screen.of_stdout(choice).has_links
    monkeypatch.setenv("FORCE_HYPERLINK", "0")
    assert not Screen.of_stdout(choice).has_links


def test_paths_are_the_shortest_that_lead_there(tmp_path: Path, monkeypatch) -> None:
    home = tmp_path / "home"
    (home / "notes" / "sub").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home / "notes")
    assert near(f"{home}/notes/sub/a.md") == "sub/a.md"
    assert near(f"{home}/notes/-a.md") == "./-a.md"
    assert near(f"{home}/notes/~a.md") == "./~a.md"
    assert near(f"{home}/b.md") in ("~/b.md", "../b.md")
    assert near(f"{home}/other/deep/b.md") == "~/other/deep/b.md"
    assert near("/etc/passwd") == "/etc/passwd"


@pytest.mark.parametrize(
    ("environment", "path", "expected"),
    [
        ({"EDITOR": "vim"}, "/d/a.md", ["vim", "+7", "/d/a.md"]),
        ({"VISUAL": "code --wait", "EDITOR": "vi"}, "/d/a b.md",
         ["code", "--wait", "--goto", "/d/a b.md:7"]),
        ({"EDITOR": "/usr/bin/hx"}, "/d/a.md", ["/usr/bin/hx", "/d/a.md:7"]),
        ({"JLOCAL_OPENER": "less +{line} {path}", "EDITOR": "vi"}, "/d/{line};rm.md",
         ["less", "+7", "/d/{line};rm.md"]),
        ({"JLOCAL_OPENER": "my 'own tool'"}, "/d/a.pdf", ["my", "own tool", "/d/a.pdf"]),
        ({"JLOCAL_OPENER": "p --page={page} -- {path}"}, "/d/-a.pdf",
         ["p", "--page=3", "--", "/d/-a.pdf"]),
        ({"PAGER": "less -R"}, "/d/a.md", ["less", "-R", "+7", "/d/a.md"]),
    ],
)  # fmt: skip
def test_what_opens_a_file(environment, path, expected) -> None:
    assert opening(path, 7, 3 if path.endswith("pdf") else None, environment) == expected


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of the desktops of Linux")
def test_what_is_no_text_opens_on_the_desktop(tmp_path: Path, monkeypatch) -> None:
    for name, script in (
        ("xdg-open", "exit 0"),
        ("xdg-mime", "echo org.gnome.Evince.desktop"),
        ("evince", "exit 0"),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    desktop = {"DISPLAY": ":0", "EDITOR": "vi"}
    assert opening("/d/a.pdf", None, 3, desktop) == ["evince", "--page-label=3", "/d/a.pdf"]
    assert opening("/d/a.html", None, None, desktop) == [f"{tmp_path}/xdg-open", "/d/a.html"]
    assert opening("/d/a.pdf", None, 3, {"EDITOR": "vi"}) is None


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hits")
    for number in range(7):
        text = f"# Note {number}\n\n" + f"A backup of disk {number} is made. It is kept. " * 60
        (folder / f"-note {number}.md").write_text(text)
    command = [sys.executable, "-m", "jlocal", "index", ".", "-d", "n.db", "-m", "starter"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


@pytest.mark.slow
def test_a_file_that_is_opened_is_an_argument(notes: Path) -> None:
    (notes / "opener.sh").write_text(
        '#!/bin/sh\nprintf "%s\\n" "$#" "$@" > opened.txt\nexit $STATUS'
    )
    (notes / "opener.sh").chmod(0o755)

    def opened(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        environment = {"JLOCAL_OPENER": "./opener.sh +{line}", "STATUS": "0"} | environment
        command = [sys.executable, "-m", "jlocal", "search", "-d", "n.db", "disk 3", *arguments]
        return subprocess.run(
            command, cwd=notes, capture_output=True, text=True, check=False,
            env=os.environ | environment,
        )  # fmt: skip

    done = opened("--open", "6")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    count, line, path = (notes / "opened.txt").read_text().splitlines()
    assert (count, line[0]) == ("2", "+")
    assert re.fullmatch(r"/.*/-note \d\.md", path)
    done = opened("--open", "99")
    assert done.returncode == 1
    assert re.fullmatch(r"Error: there is no hit 99; hits found: \d+\n", done.stderr)
    assert "ended with exit status 4" in opened("--open", "1", STATUS="4").stderr
    assert "cannot run ./none" in opened("--open", "1", JLOCAL_OPENER="./none").stderr


@pytest.mark.slow
def test_on_a_real_terminal(notes: Path) -> None:
    """All on 80x24, nothing wider; a number at the prompt opens that hit."""
    environment = {**os.environ, "TERM": "xterm", "JLOCAL_OPENER": "echo opened"}
    environment.pop("NO_COLOR", None)
    arguments = ["-m", "jlocal", "search", "-d", "n.db"]
    options = {"cwd": notes, "timeout": 60, "encoding": "utf-8", "dimensions": (24, 80)}
    child = pexpect.spawn(
        sys.executable, [*arguments, "backup of disk 3"], env=environment, **options
    )
    lines = child.read().split("\r\n")[:-1]
    child.close()
    assert child.exitstatus == 0
    assert len(lines) <= 22
    plain = [re.sub(r"\x1b\[[\d;]*m|\x1b\]8;;[^\x1b]*\x1b\\", "", line) for line in lines]
    assert max(map(wcswidth, plain)) <= 80
    assert sum(line.endswith("○") or line.endswith("●") for line in plain) == 5
    assert plain[-1].startswith("Add --open 1")
    child = pexpect.spawn(sys.executable, arguments, env=environment, **options)
    # What can be typed at the prompt is said once, and options cannot.
    child.expect_exact("search> ")
    assert "A number opens that hit; an empty line ends." in child.before
    child.sendline("backup of disk 3")
    child.expect_exact("search> ")
    assert "1  " in child.before
    assert not re.search("A number opens|Add|--open|-n ", child.before)
    child.sendline("2")
    child.expect(r"opened /.*/-note \d\.md\r\n")
    child.sendline("77")
    child.expect(r"1  .*-note")
    child.sendeof()
    child.close()
    for variable in ({"TERM": "dumb"}, {"NO_COLOR": "1"}):
        child = pexpect.spawn(
            sys.executable, [*arguments, "backup", "-q"], env=environment | variable, **options
        )
        text = child.read()
        assert "\x1b" not in text
        assert "Add --open" not in text
        child.close()


def test_a_name_that_the_locale_cannot_write_has_no_link() -> None:
    program = """
from jlocal.cli.display.screen import Screen
screen = Screen(True, 80, 24, True, True, False, "ascii")
assert screen.link("name", "/Gr\\xf6\\xdfe.md") == "name"
assert screen.link("name", "/size.md") != "name"
"""
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([sys.executable, "-c", program], env=os.environ | locale, check=True)
