"""The tools for agents on the server, through the SDK's own client."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from jlocal import Collection
from support.servers import running

pytestmark = pytest.mark.slow

KEY = "a-key"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "nas.md").write_text("# NAS\n\nTwo mirrored disks hold the photos.\n")
    (notes / "backup.md").write_text("# Backup\n\nrestic runs every night.\n")
    with Collection(tmp_path / "notes.db", "starter") as collection:
        collection.index(notes)
    return tmp_path


def test_agents_search_and_read_over_http(folder: Path) -> None:
    from mcp import Client

    async def ask(url: str) -> tuple[object, object]:
        async with Client(f"{url}/mcp") as client:
            tools = await client.list_tools()
            found = await client.call_tool("search", {"query": "when does restic run"})
            return tools, found

    options = ("-m", "starter", "-d", str(folder / "notes.db"))
    with running(*options) as server:
        tools, found = asyncio.run(ask(server.url))
        models = httpx.get(f"{server.url}/status").json()["models"]
        server.stop()
    assert {tool.name for tool in tools.tools} == {"search", "read", "list_collections", "status"}
    hit = found.structured_content["hits"][0]
    assert hit["document"] == "notes/backup.md"
    assert str(folder) not in str(found)
    assert len(models) == 1
    assert models[0]["loaded"]
    assert not any("Traceback" in line for line in server.log)


def test_agents_need_the_key(folder: Path) -> None:
    options = ("-m", "starter", "--lazy", "-d", str(folder / "notes.db"))
    with running(*options, environment={"JLOCAL_API_KEY": KEY}) as server:
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        assert httpx.post(f"{server.url}/mcp", json=body).status_code == 401
        assert httpx.post(
            f"{server.url}/mcp", json=body, headers={"Origin": "http://evil.example"}
        ).status_code in (401, 403)
