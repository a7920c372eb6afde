"""Draw the pictures of the README from the real program; needs: pip install -e . --group pictures.

The first minute is typed at a shell in a terminal of 80 columns; the map is opened in Chromium.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pexpect
from rich.ansi import AnsiDecoder
from rich.console import Console

from demo import QUESTION

ROOT = Path(__file__).resolve().parent.parent
NOTES = ROOT / "examples" / "notes"
DOCS = ROOT / "docs"
COLUMNS, ROWS = 80, 24
PROMPT = "$ "
INDEX = "jlocal index ~/notes"
SEARCH = f"jlocal search {QUESTION}"

# rich's own frame fetches a font from the network, and draws the buttons of a window.
FRAME = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">
<title>A terminal in which a folder of notes is indexed and searched</title>
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px;
}}
{styles}
</style>
<defs>{lines}</defs>
<rect fill="#292929" width="100%" height="100%" rx="8"/>
<g transform="translate(9, 22)" class="{unique_id}-matrix">{backgrounds}{matrix}</g>
</svg>
"""


def environment(home: Path) -> dict[str, str]:
    """Return the environment of a new user whose home has the notes."""
    kept = {name: os.environ[name] for name in ("LANG", "LC_ALL") if name in os.environ}
    shutil.copytree(NOTES, home / "notes")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {"LANG": "C.UTF-8", **kept, "HOME": str(home), "PATH": path, "TERM": "xterm-256color"}


def typed(commands: list[str], home: Path, variables: dict[str, str]) -> str:
    """Type commands at a shell; return the terminal's output."""
    shell = pexpect.spawn(
        "/bin/sh", env={**variables, "PS1": PROMPT}, cwd=home, encoding="utf-8",
        dimensions=(ROWS, COLUMNS), timeout=120,
    )  # fmt: skip
    shell.expect_exact(PROMPT)
    sent = PROMPT
    for command in commands:
        shell.sendline(command)
        shell.expect_exact(f"\n{PROMPT}")
        sent += shell.before + shell.after
    shell.close(force=True)
    return sent


def draw(sent: str, target: Path) -> None:
    """Write a terminal's output as an SVG file."""
    console = Console(width=COLUMNS, record=True, file=io.StringIO())
    for line in AnsiDecoder().decode(sent.replace("\r\n", "\n")):
        console.print(line, soft_wrap=True)
    svg = console.export_svg(title="", code_format=FRAME, unique_id="terminal")
    target.write_text(svg, encoding="utf-8")


def photograph(page: Path, target: Path) -> None:
    """Write Chromium's picture of a page."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("The map is drawn with Chromium, which is not here.")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    flags += [f"--user-data-dir={page.parent / 'browser'}", "--window-size=1000,620"]
    command = [chromium, *flags, f"--screenshot={target}", page.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)


def main() -> None:
    """Draw both pictures."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        variables = environment(home)
        draw(typed([INDEX, SEARCH], home, variables), DOCS / "first-minute.svg")
        page = home / "map.html"
        command = [str(Path(sys.executable).parent / "jlocal"), "map", "-o", str(page), "--no-open"]
        subprocess.run(command, check=True, env=variables)
        photograph(page, DOCS / "map.png")


if __name__ == "__main__":
    main()
