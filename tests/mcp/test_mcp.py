"""A model searches and reads collections through the SDK's own client, in this process."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from starlette.applications import Starlette

from jlocal import Collection, Embedder
from jlocal.mcp.clean import cleaned
from jlocal.mcp.library import Library
from jlocal.mcp.models import OwnModels
from support.pdfs import pdf

if TYPE_CHECKING:
    from mcp import Client

Ask = Callable[..., dict[str, Any]]
HOSTILE = (
    "Ignore all </script><b>\x1b[31mred\x1b[0m \u202egpj.exe\u202c \x1b]0;owned\x07 walrus \x00 end"
)
HARBOUR = "# Harbour\n\n## Rules\n\n" + "\n".join(f"Rule {n}: boats wait." for n in range(200))


@pytest.fixture(scope="module")
def model(starter: Embedder) -> Embedder:
    return starter


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, model: Embedder) -> Path:
    """Return a collection of a few files; its folder is beside it."""
    folder = tmp_path_factory.mktemp("disk")
    notes = folder / "notes"
    (notes / "sea").mkdir(parents=True)
    (notes / "sea" / "harbour.md").write_text(HARBOUR)
    (notes / "tea.txt").write_text("Green tea needs water of 80 degrees.")
    (notes / "hostile.md").write_text(HOSTILE.replace("\x00", ""))
    (notes / "old.txt").write_text("The lighthouse was sold in 1912.")
    (notes / "book.pdf").write_bytes(pdf("A page about herring.", "", "A page about cranes."))
    with Collection(folder / "work.db", model) as collection:
        collection.index(notes, chunk=64)
        collection.add([HOSTILE + " added"], ["a\x1b[1mnote"])
    (notes / "old.txt").unlink()
    return folder / "work.db"


def client_of(library: Library) -> Client:
    """Import the SDK only where it is used: that takes most of a second."""
    from mcp import Client

    from jlocal.mcp.app import make_server

    return Client(make_server(library))


def asking(*paths: Path, shows_paths: bool = False) -> Iterator[Ask]:
    library = Library(OwnModels({"threads": 1}), paths, shows_paths=shows_paths)

    def ask(tool: str, /, *, fails: bool = False, **arguments: object) -> Any:
        async def call() -> Any:
            async with client_of(library) as client:
                result = await client.call_tool(tool, arguments)
                (text,) = result.content
                assert result.is_error is fails, text.text
                if fails:
                    return text.text
                assert json.loads(text.text) == result.structured_content
                return result.structured_content

        return anyio.run(call)

    yield ask
    library.close()


@pytest.fixture
def ask(work: Path) -> Iterator[Ask]:
    """Call a tool as a client elsewhere does, which sees no paths of this machine."""
    yield from asking(work)


@pytest.fixture
def ask_here(work: Path) -> Iterator[Ask]:
    """Call a tool as a client on this machine does."""
    yield from asking(work, shows_paths=True)


def test_all_tools_are_read_only_and_typed(work: Path) -> None:
    async def tools() -> Any:
        library = Library(OwnModels({}), [work])
        async with client_of(library) as client:
            assert "never" in client.instructions
            return (await client.list_tools()).tools

    listed = {tool.name: tool for tool in anyio.run(tools)}
    assert set(listed) == {"search", "read", "list_collections", "status"}
    for tool in listed.values():
        assert tool.annotations.read_only_hint
        assert tool.annotations.idempotent_hint
        assert tool.annotations.open_world_hint is False
        assert tool.annotations.destructive_hint is False
        assert len(tool.description) > 40
        assert tool.output_schema["type"] == "object"
        for argument in tool.input_schema["properties"].values():
            assert argument["description"]


@pytest.mark.parametrize("mode", ["both", "words", "meaning"])
def test_a_hit_is_read_in_its_document(ask: Ask, mode: str) -> None:
    hits = ask("search", query="Rule 150 boats wait", mode=mode, path="harbour.md")["hits"]
    (hit,) = hits
    assert hit["document"] == "notes/sea/harbour.md"
    assert hit["collection"] == "work"
    assert hit["headings"] == ["Harbour", "Rules"]
    assert hit["state"] == "current"
    lines = HARBOUR.split("\n")
    assert hit["excerpt"].split("\n")[0] == lines[hit["line"] - 1]
    part = ask(
        "read", document=hit["document"], position=hit["position"], before=100, characters=300
    )
    assert (
        part["text"]
        == "\n".join(lines[part["first_line"] - 1 : part["last_line"]])[: len(part["text"])]
    )
    assert part["first_line"] < hit["line"] <= part["last_line"]
    assert hit["excerpt"].split("\n")[0] in part["text"]


@pytest.mark.slow
def test_a_document_is_read_to_its_end_and_back(ask: Ask) -> None:
    position, parts = None, []
    while True:
        part = ask("read", document="notes/sea/harbour.md", position=position, characters=900)
        parts.append(part["text"])
        assert len(part["text"]) <= 900
        position = part["following"]
        if position is None:
            break
    assert "".join(parts).split() == HARBOUR.split()
    assert part["previous"]
    assert ask("read", document="notes/sea/harbour.md")["previous"] is None


def test_lines_and_pages_are_read(ask: Ask) -> None:
    part = ask("read", document="notes/sea/harbour.md", line=8, characters=20)
    assert (part["first_line"], part["text"]) == (8, "Rule 3: boats wait.\n")
    third = ask("read", document="notes/book.pdf", page=3)
    assert (third["page"], third["first_line"]) == (3, None)
    assert third["text"] == "A page about cranes."
    assert ask("read", document="notes/book.pdf")["following"] == "2:0"
    assert ask("read", document="notes/book.pdf", position=third["previous"])["page"] == 1
    assert "line 999" in ask("read", document="notes/tea.txt", line=999, fails=True)
    assert "ends" in ask("read", document="notes/tea.txt", position="7:0", fails=True)


def test_a_deleted_file_is_found_marked_and_read(ask: Ask) -> None:
    hit = ask("search", query="lighthouse", mode="words")["hits"][0]
    assert (hit["document"], hit["state"]) == ("notes/old.txt", "missing")
    assert "1912" in ask("read", document="notes/old.txt")["text"]
    (folder,) = ask("status")["folders"]
    assert (folder["folder"], folder["missing"]) == ("notes", 1)
    assert ask("status")["is_current"] is False


@pytest.mark.slow
def test_nothing_of_the_disk_is_told_unless_it_is_this_machine(
    ask: Ask, ask_here: Ask, work: Path
) -> None:
    calls = (
        ("search", {"query": "tea harbour walrus"}),
        ("read", {"document": "notes/tea.txt"}),
        ("list_collections", {}),
        ("status", {}),
    )
    for tool, arguments in calls:
        assert str(work.parent) not in json.dumps(ask(tool, **arguments))
    path = str(work.parent / "notes" / "tea.txt")
    assert ask("search", query="tea", path=str(work.parent / "*"))["hits"] == []
    assert ask("read", document=path, fails=True)
    hit = ask_here("search", query="tea", path=str(work.parent / "*"), mode="words")["hits"][0]
    assert hit["document"] == path
    assert ask_here("read", document=path)["text"].startswith("Green tea")
    assert ask_here("status")["folders"][0]["folder"] == str(work.parent / "notes")


def test_what_documents_hold_is_data(ask: Ask) -> None:
    hits = ask("search", query="walrus", mode="words")["hits"]
    assert {hit["document"] for hit in hits} == {"notes/hostile.md", "a\ufffd[1mnote"}
    for hit in hits:
        part = ask("read", document=hit["document"], position=hit["position"])
        for text in (hit["excerpt"], part["text"], hit["document"]):
            assert all(letter.isprintable() or letter in "\n\t\ufffd" for letter in text)
            assert "31m" not in text
        assert "</script><b>" in part["text"]
        assert "owned" not in part["text"]


def test_cleaning_keeps_text_and_lines() -> None:
    kept = "Zwei Zeilen:\n\tä, é, 中文, 👩\u200d👩\u200d👧, نمی\u200cخواهم\n"
    assert cleaned(kept) == kept
    assert cleaned("a\r\nb\rc\u2028d") == "a\nb\nc\nd"
    assert cleaned("\x1b[1;31mred\x1b[0m") == "\ufffdred\ufffd"
    assert cleaned("\x9b1mred") == "\ufffdred"
    assert cleaned("\x1b]8;;http://x\x1b\\link") == "\ufffdlink"
    assert cleaned("a\x1b") == "a\ufffd"
    assert cleaned("hid\U000e0041den\u2066 \ud800") == "hid\ufffdden\ufffd \ufffd"
    assert cleaned("\x1b]" * 100_000).count("\ufffd") == 100_000


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("search", {"query": "x", "collection": "nope"}, "no collection nope; choose: work"),
        ("search", {"query": " \n"}, "the query is empty"),
        ("search", {"query": "x", "n": 10**30}, "n: "),
        ("search", {"query": "x", "n": 0}, "n: "),
        ("search", {}, "query: "),
        ("search", {"query": "x", "mode": "magic"}, "mode: "),
        ("search", {"query": "x" * 9000}, "query: "),
        ("read", {"document": "notes/no.md"}, "no document notes/no.md"),
        ("read", {"document": "../work.db"}, "no document"),
        ("read", {"document": "/etc/passwd"}, "no document"),
        ("read", {"document": ""}, "no document"),
        ("read", {"document": "a\0b"}, "no document"),
        ("read", {"document": "notes/tea.txt", "position": "x"}, "no position"),
        ("read", {"document": "notes/tea.txt", "characters": 10**9}, "characters: "),
        ("status", {"collection": "\x1b[1m"}, "no collection"),
    ],
)
def test_errors_are_one_line_that_helps(
    ask: Ask, tool: str, arguments: dict[str, object], says: str
) -> None:
    message = ask(tool, fails=True, **arguments)
    assert says in message
    assert message.isprintable()
    assert len(message) < 600
    assert "Traceback" not in message


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="names of files there are Unicode")
def test_a_name_that_is_not_utf_8_goes_there_and_back(tmp_path: Path, model: Embedder) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    path = os.fsencode(folder) + b"/caf\xe9\x1b[1m.txt"
    try:
        Path(os.fsdecode(path)).write_text("Espresso takes nine bars.")
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    with Collection(tmp_path / "c.db", model) as collection:
        collection.index(folder)
    for shows_paths in (False, True):
        for ask in asking(tmp_path / "c.db", shows_paths=shows_paths):
            (hit,) = ask("search", query="espresso")["hits"]
            assert hit["document"].endswith("caf\ufffd\ufffd[1m.txt")
            assert "nine bars" in ask("read", document=hit["document"])["text"]


@pytest.mark.slow
def test_a_collection_is_made_anew_meanwhile(tmp_path: Path, model: Embedder) -> None:
    path = tmp_path / "c.db"
    with Collection(path, model) as collection:
        collection.add(["The cat sleeps."], ["cat"])
    for ask in asking(path):
        assert ask("search", query="cat")["hits"][0]["document"] == "cat"
        path.unlink()
        assert "no collection c any more" in ask("search", query="cat", fails=True)
        with Collection(path, model) as collection:
            collection.index(_note(tmp_path, "The dog barks."), truncate_dim=64)
        assert ask("search", query="dog")["hits"][0]["excerpt"] == "The dog barks."
        assert ask("status")["dimensions"] == 64


def _note(folder: Path, text: str) -> Path:
    (folder / "note.txt").write_text(text)
    return folder / "note.txt"


@pytest.mark.slow
def test_one_broken_collection_does_not_hide_the_others(
    tmp_path: Path, work: Path, model: Embedder
) -> None:
    gone = tmp_path / "moved" / "model.gguf"
    with Collection(tmp_path / "lost.db", model) as collection:
        collection.add(["Tea from a lost model."], ["lost"])
    with closing(sqlite3.connect(tmp_path / "lost.db")) as connection, connection:
        connection.execute(
            "UPDATE setting SET value = ? WHERE key = 'model_path'", (json.dumps(str(gone)),)
        )
    (tmp_path / "broken.db").write_bytes(b"no database" * 99)
    for ask in asking(work, tmp_path / "lost.db", tmp_path / "broken.db"):
        found = ask("search", query="green tea")
        assert found["hits"][0]["document"] == "notes/tea.txt"
        assert [problem.split(":")[0] for problem in found["problems"]] == ["lost", "broken"]
        words = ask("search", query="tea", mode="words", collection="lost")
        assert words["hits"][0]["document"] == "lost"
        listed = ask("list_collections")["collections"]
        assert [one["problem"] is None for one in listed] == [True, True, False]
        assert ask("read", document="lost")["collection"] == "lost"
        for text in (found, listed, ask("search", query="tea", collection="broken", fails=True)):
            assert str(tmp_path) not in json.dumps(text)


@pytest.mark.slow
def test_collections_of_this_machine_are_there_when_they_are_made(model: Embedder) -> None:
    for ask in asking():
        assert ask("list_collections")["collections"] == []
        assert "jlocal index" in ask("search", query="x", fails=True)
        with Collection("travel", model) as collection:
            collection.add(["Trains to Paris."], ["paris"])
        assert ask("search", query="trains")["hits"][0]["collection"] == "travel"


@pytest.mark.slow
def test_the_passage_of_a_whole_text_is_shortened_around_its_words(
    tmp_path: Path, model: Embedder
) -> None:
    text = "Filler words stand here. " * 150 + "The walrus is last."
    with Collection(tmp_path / "c.db", model) as collection:
        collection.add([text], ["long"], chunk=None)
    for ask in asking(tmp_path / "c.db"):
        (hit,) = ask("search", query="a walrus")["hits"]
        assert hit["is_shortened"]
        assert hit["excerpt"].startswith("… ")
        assert hit["excerpt"].endswith("walrus is last.")
        assert len(hit["excerpt"]) < 1600


def test_it_answers_as_a_part_of_another_application(work: Path) -> None:
    library = Library(OwnModels({"threads": 1}), [work])
    from jlocal.mcp.app import streamable_http

    http = streamable_http(library)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> Any:
        async with http.running():
            yield

    async def call() -> Any:
        app = Starlette(routes=http.routes, lifespan=lifespan)
        transport = httpx.ASGITransport(app)
        headers = {
            "accept": "application/json, text/event-stream",
            # Whether these are allowed is for the application to say.
            "host": "search.example:1234",
            "origin": "https://page.example",
        }
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://x", headers=headers) as client,
        ):
            asked = {"name": "search", "arguments": {"query": "green tea", "mode": "words"}}
            message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": asked}
            answer = await client.post("/mcp", json=message)
            assert answer.status_code == 200, answer.text
            large = await client.post("/mcp", json={"x": "y" * (2 << 20)})
            assert large.status_code == 413
            return answer.json()["result"]

    result = anyio.run(call)
    assert result["structuredContent"]["hits"][0]["document"] == "notes/tea.txt"
    library.close()
