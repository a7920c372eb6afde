"""`jlocal serve --open` shows the search page in the user's browser, and goes on without one."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import httpx
import pytest

from support.servers import running

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="BROWSER names a shell script"),
]


def test_the_page_is_opened_once_the_server_answers(tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    script = tmp_path / "browser"
    script.write_text(
        f"#!/bin/sh\nprintf %s \"$1\" > '{opened}.new' && mv '{opened}.new' '{opened}'\n"
    )
    script.chmod(0o700)
    environment = {"BROWSER": str(script), "JLOCAL_HOME": str(tmp_path)}
    with running("-m", "starter", "--lazy", "--open", environment=environment) as server:
        end = time.monotonic() + 30
        while not opened.exists():
            assert time.monotonic() < end
            time.sleep(0.05)
        assert opened.read_text() == server.url
        assert "<title>jlocal</title>" in httpx.get(f"{server.url}/").text


def test_without_a_browser_a_note_names_the_address(tmp_path: Path) -> None:
    environment = {"BROWSER": "/bin/false", "JLOCAL_HOME": str(tmp_path), "PATH": str(tmp_path)}
    environment |= {"DISPLAY": "", "WAYLAND_DISPLAY": ""}
    with running("-m", "starter", "--lazy", "--open", environment=environment) as server:
        end = time.monotonic() + 30
        while not any(f"open {server.url} in one" in line for line in server.log):
            assert time.monotonic() < end, server.log
            time.sleep(0.05)
        assert httpx.get(f"{server.url}/health").status_code == 200
