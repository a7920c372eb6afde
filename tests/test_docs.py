"""The documentation says what the program does."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from jlocal.cli import cli

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from cli_docs import TARGET, render  # noqa: E402


def test_the_page_of_the_commands_is_current() -> None:
    assert TARGET.read_text(encoding="utf-8") == render(), "run: python scripts/cli_docs.py"


def test_links_of_the_documentation_lead_somewhere() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    assert len(pages) > 2
    for page in pages:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_readme_names_every_command() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in cli.list_commands(None):
        assert f"jlocal {name} " in text
