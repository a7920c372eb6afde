"""The documentation says what the program does."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from jlocal.cli import cli

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = sorted((README, *(ROOT / "docs").glob("*.md")))
sys.path.insert(0, str(ROOT / "scripts"))

from cli_docs import TARGET, render  # noqa: E402

from demo import QUESTION  # noqa: E402


def blocks(page: Path, *languages: str) -> list[str]:
    """Code of a page in these languages."""
    text = page.read_text(encoding="utf-8")
    fenced = re.findall(r"^```(\w+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [code for language, code in fenced if language in languages]


def commands(page: Path) -> Iterator[list[str]]:
    """Words of each command of jlocal in a page's examples, without what the shell takes."""
    for block in blocks(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words and Path(words[0]).name == "jlocal":
                redirected = next((i for i, word in enumerate(words) if word[0] in "<>|"), None)
                yield words[1:redirected]


def inline(page: Path) -> Iterator[list[str]]:
    """Words of each `jlocal command --option` in a page's sentences and tables."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.M)
    for command in re.findall(r"`jlocal ([^`]+)`", text):
        yield command.split()


def parse(words: list[str]) -> tuple[click.Command, list[str]]:
    """Find the command, and make sure that it knows every option; return what follows its name."""
    command: click.Command = cli
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.commands.get(words[0]) or command.get_command(click.Context(cli), words[0])
        if found is None:
            assert command.invoke_without_command, f"no such command: jlocal {shlex.join(words)}"
            break
        command, words = found, words[1:]
    known = {name for parameter in command.params for name in parameter.opts}
    known |= {name for parameter in command.params for name in parameter.secondary_opts}
    known |= {"-h", "--help"}
    for word in words:
        option = re.match(r"--?[A-Za-z][\w-]*", word)
        assert not option or option[0] in known, f"{option[0]}: jlocal {command.name}"
    return command, words


def test_the_page_of_the_commands_is_current() -> None:
    assert TARGET.read_text(encoding="utf-8") == render(), "run: python scripts/cli_docs.py"


def test_links_of_the_documentation_lead_somewhere() -> None:
    assert len(PAGES) > 2
    for page in PAGES:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_readme_links_every_page() -> None:
    text = README.read_text(encoding="utf-8")
    for page in PAGES:
        assert page == README or f"](docs/{page.name})" in text, page.name


def test_files_and_folders_that_pages_name_exist() -> None:
    pages = [*PAGES, ROOT / "CONTRIBUTING.md", *(ROOT / "docs" / "decisions").glob("*.md")]
    named = {
        (page.name, path)
        for page in pages
        for path in re.findall(
            r"`((?:jlocal|convert|tests|scripts|benchmarks)/[\w./]*)`",
            page.read_text(encoding="utf-8"),
        )
    }
    assert len(named) > 40
    assert not [(page, path) for page, path in named if not (ROOT / path).exists()]


def test_the_readme_names_every_command() -> None:
    text = README.read_text(encoding="utf-8")
    for name in cli.list_commands(click.Context(cli)):
        assert re.search(rf"\bjlocal {name}\b", text), name


def test_the_set_up_commands_are_the_first_that_one_can_copy() -> None:
    first, second = blocks(README, "sh")[0].splitlines()
    assert first.startswith("python3 scripts/demo.py ")
    assert second.startswith("python3 scripts/test.py ")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_examples_have_the_options_that_are_shown(page: Path) -> None:
    for words in commands(page):
        command, arguments = parse(words)
        if not isinstance(command, click.Group):
            # Reads the command line as the program does, and stops before it does anything.
            with command.make_context(command.name, list(arguments), resilient_parsing=False):
                pass
    for words in inline(page):
        parse(words)


@pytest.mark.slow
def test_the_python_of_the_readme_finds_the_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "\n".join(blocks(README, "python"))
    assert "Collection" in code
    monkeypatch.setenv("JLOCAL_HOME", str(tmp_path))
    monkeypatch.delenv("JLOCAL_DATABASE", raising=False)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("2024-03-12 backup strategy.md\n")


@pytest.mark.slow
def test_the_picture_of_the_first_minute_shows_what_the_program_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    svg = (ROOT / "docs" / "first-minute.svg").read_text(encoding="utf-8")
    shown = re.sub(r"<[^>]*>", "", svg).replace("&#160;", " ")
    monkeypatch.setenv("JLOCAL_HOME", str(tmp_path))
    monkeypatch.delenv("JLOCAL_DATABASE", raising=False)

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "jlocal", *arguments]
        return subprocess.check_output(command, cwd=ROOT / "examples", text=True)

    run("index", "notes", "-m", "starter")
    found = run("search", *QUESTION.split(), "--files", "-n", "1")
    assert f"1  {found.strip()}:" in shown


@pytest.mark.parametrize("name", ["first-minute.svg", "map.png"])
def test_pictures_are_small(name: str) -> None:
    assert 5_000 < (ROOT / "docs" / name).stat().st_size < 150_000
