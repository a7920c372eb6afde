"""Draw the pictures of the README from the real program; needs: pip install -e . --group pictures.

The commands of the first minute run in a shell in a terminal of 80 columns; the map and the search
page are opened in Chromium.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from urllib.parse import urlencode

import pexpect
from rich.ansi import AnsiDecoder
from rich.console import Console
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

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


def photograph_server(home: Path, variables: dict[str, str]) -> None:
    """Write pictures of the search page: the map, a passage in the dark, and a phone."""
    command = [str(Path(sys.executable).parent / "jlocal"), "serve", "--port", "0", "--quiet"]
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            url = server.stdout.readline().split()[3]
            query = {"q": QUESTION}
            with urllib.request.urlopen(f"{url}/search?{urlencode(query)}") as answer:
                hit = json.load(answer)["hits"][0]
            at = f"file.{hit['record']}.{hit['start']}.{hit['end']}"
            opened = query | {"read": hit["document"], "of": hit["collection"], "at": at}
            options = webdriver.ChromeOptions()
            options.binary_location = shutil.which("chromium") or shutil.which("chromium-browser")
            for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
                options.add_argument(flag)
            options.add_argument(f"--user-data-dir={home / 'profile'}")
            # Given the path of the driver, selenium does not look for one on the network.
            service = Service(shutil.which("chromedriver") or "chromedriver")
            with webdriver.Chrome(options=options, service=service) as driver:
                take(driver, f"{url}/#{urlencode(query)}", "serve-page", (1280, 760), "light")
                take(driver, f"{url}/#{urlencode(opened)}", "serve-page-dark", (1280, 760), "dark")
                take(driver, f"{url}/#{urlencode(query)}", "serve-page-phone", (360, 720), "light")
        finally:
            server.terminate()


def take(driver: webdriver.Chrome, url: str, name: str, size: tuple[int, int], scheme: str) -> None:
    """Write a picture of the search page, once it shows its hits and the panel beside them."""
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    media = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    driver.get("about:blank")
    driver.get(url)
    ready = (
        "return answer && (shownSide() !== 'map' || drawn?.picture.lit.length) &&"
        " (!state.open || reader.querySelector('.passage'))"
    )
    WebDriverWait(driver, 60).until(lambda driver: driver.execute_script(ready))
    driver.execute_async_script(
        "query.blur(); setTimeout(arguments[0], 500)"  # a frame, and the time of a search
    )
    driver.save_screenshot(str(DOCS / f"{name}.png"))


def main() -> None:
    """Draw all pictures, or those of the search page alone with the argument --serve."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        variables = environment(home)
        if sys.argv[1:] == ["--serve"]:
            typed([INDEX], home, variables)
            photograph_server(home, variables)
            return
        draw(typed([INDEX, SEARCH], home, variables), DOCS / "first-minute.svg")
        page = home / "map.html"
        command = [str(Path(sys.executable).parent / "jlocal"), "map", "-o", str(page), "--no-open"]
        subprocess.run(command, check=True, env=variables)
        photograph(page, DOCS / "map.png")
        photograph_server(home, variables)


if __name__ == "__main__":
    main()
