"""The server searches collections under names, and reads documents without the disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from jlocal import Collection, Embedder
from jlocal.collection.document_names import DocumentNames, clean
from jlocal.models.starter import FILE
from support.servers import Running, running

LONG = "\n\n".join(f"Paragraph {n} of the long report speaks of winch {n}." for n in range(300))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, starter: Embedder) -> Path:
    """Two collections of this machine: one of files, and one of added texts."""
    home = tmp_path_factory.mktemp("secret-home")
    notes = home / "secret-above" / "notes"
    for folder in ("harbour", "kitchen"):
        (notes / folder).mkdir(parents=True)
    (notes / "harbour" / "ferry.md").write_text("# Ferry\n\nThe ferry leaves at noon. 𝒳\n")
    (notes / "harbour" / "long.md").write_text(LONG)
    (notes / "kitchen" / "stove.md").write_text("# Stove\n\nThe stove burns beech wood.\n")
    (notes / "kitchen" / "copy.md").write_text("# Stove\n\nThe stove burns beech wood.\n")
    (notes / os.fsdecode(b"caf\xe9 menu.md")).write_text("The café sells waffles at the pier.\n")
    folder = home / "collections"
    folder.mkdir()
    with Collection(folder / "notes.db", starter) as collection:
        collection.index(notes)
    with Collection(folder / "texts.db", starter) as collection:
        collection.add(["A gale is forecast.", "Apple pie."], ["gale/1", "pie"], {"year": 2024})
    return home


@pytest.fixture(scope="module")
def searched(home: Path) -> Iterator[Running]:
    with running("-m", "starter", environment={"JLOCAL_HOME": str(home)}) as server:
        yield server


def post(server: Running, route: str, **fields: object) -> dict[str, Any]:
    answer = httpx.post(f"{server.url}{route}", json=fields, timeout=60)
    assert "secret" not in answer.text
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(server: Running, route: str, **fields: object) -> tuple[int, str]:
    answer = httpx.post(f"{server.url}{route}", json=fields, timeout=60)
    assert "secret" not in answer.text
    return answer.status_code, answer.json()["error"]["message"]


def documents(answer: dict[str, Any]) -> list[str]:
    return [hit["document"] for hit in answer["hits"]]


@pytest.mark.parametrize("mode", ["both", "words", "meaning"])
def test_hits_are_those_of_the_collection(
    searched: Running, home: Path, starter: Embedder, mode: Any
) -> None:
    answer = post(searched, "/search", query="ferry at noon", collection="notes", mode=mode, n=3)
    with Collection(home / "collections" / "notes.db", starter) as collection:
        hits = collection.search("ferry at noon", 3, mode=mode)
    expected = [(clean(Path(hit.path).name), round(hit.score, 4), hit.text) for hit in hits]
    found = [
        (Path(hit["document"]).name, round(hit["score"], 4), hit["text"]) for hit in answer["hits"]
    ]
    assert found == expected
    assert answer["score"]["name"] == {"both": "relevance", "words": "bm25"}.get(mode, "cosine")
    first = answer["hits"][0]
    assert first["document"] == "notes/harbour/ferry.md"
    assert first["headings"] == ["Ferry"]
    assert (first["first_line"], first["state"]) == (1, "current")


def test_words_of_the_query_are_marked_without_markup(searched: Running) -> None:
    hit = post(searched, "/search", query="ferries", text=False)["hits"][0]
    assert "text" not in hit
    (line,) = hit["excerpt"]
    assert "".join(piece["text"] for piece in line).startswith("The ferry leaves at noon.")
    assert [piece["text"] for piece in line if piece["match"]] == ["ferry"]


def test_get_is_post(searched: Running) -> None:
    answer = httpx.get(
        f"{searched.url}/search",
        params=[("q", "stove"), ("n", "5"), ("collections", "notes"), ("min_score", "0.0001"),
                ("folders", "notes/kitchen"), ("path", "*.md"), ("text", "false")],
    ).json()  # fmt: skip
    same = post(
        searched, "/search", query="stove", n=5, collections=["notes"], min_score=0.0001,
        folders=["notes/kitchen"], path="*.md", text=False,
    )  # fmt: skip
    assert answer["hits"] == same["hits"]
    assert documents(answer) == ["notes/kitchen/stove.md"]
    (other,) = answer["hits"][0]["others"]
    assert other["document"] == "notes/kitchen/copy.md"


def test_all_collections_are_searched_unless_some_are_named(searched: Running) -> None:
    answer = post(searched, "/search", query="gale over the pier")
    assert answer["collections"] == ["notes", "texts"]
    assert {hit["collection"] for hit in answer["hits"]} == {"notes", "texts"}
    scores = [hit["relevance"] for hit in answer["hits"]]
    assert scores == sorted(scores, reverse=True)
    answer = post(searched, "/search", query="gale", collections=["texts"])
    assert {hit["collection"] for hit in answer["hits"]} == {"texts"}
    assert (answer["hits"][0]["document"], answer["hits"][0]["kind"]) == ("gale/1", "text")
    assert answer["hits"][0]["metadata"] == {"year": 2024}


@pytest.mark.slow
def test_filters_see_names_and_nothing_above_them(searched: Running) -> None:
    def found(**fields: object) -> set[str]:
        answer = post(searched, "/search", query="winch stove ferry", collection="notes", **fields)
        return {Path(name).name for name in documents(answer)}

    kitchen, harbour = {"stove.md"}, {"ferry.md", "long.md"}
    assert found(folders=["notes/kitchen"]) == found(path="kitchen") == kitchen
    assert found(folders=["notes/harbour", "notes/kitchen"]) == kitchen | harbour
    assert found(folders=["notes/harbour"], path="f*") == {"ferry.md"}
    for probe in ("secret*", "secret-above", "*/secret-above/*", "/*", "notes/kitch"):
        assert not found(folders=[probe])
    for probe in ("secret*", "secret-above", "*/secret-above/*", "~/*"):
        assert not found(path=probe)


def test_collections_are_listed_without_paths(searched: Running) -> None:
    notes, texts = post(searched, "/collections")["collections"]
    assert (notes["name"], notes["documents"], notes["error"]) == ("notes", 5, None)
    assert notes["folders"] == [
        {"name": "notes", "documents": 5},
        {"name": "notes/harbour", "documents": 2},
        {"name": "notes/kitchen", "documents": 2},
    ]
    assert (texts["documents"], texts["folders"]) == (2, [])
    assert notes["dimensions"] == 256


def test_a_passage_is_read_in_its_document(searched: Running, home: Path) -> None:
    hit = post(searched, "/search", query="winch 150", collection="notes")["hits"][0]
    assert hit["document"] == "notes/harbour/long.md"
    file = home / "secret-above" / "notes" / "harbour" / "long.md"
    moved = file.rename(file.with_suffix(".moved"))  # The disk is not read.
    try:
        place = {key: hit[key] for key in ("collection", "document", "kind", "record")}
        answer = post(
            searched, "/document", **place, start=hit["start"], end=hit["end"], before=100,
            after=80, query="winch 150",
        )  # fmt: skip
        passage = "".join(piece["text"] for piece in answer["passage"])
        assert passage == hit["text"]
        assert {"winch", "150"} <= {p["text"] for p in answer["passage"] if p["match"]}
        assert (
            answer["before"] + passage + answer["after"]
            == LONG[answer["start"] :][: answer["end"] - answer["start"]]
        )
        assert len(answer["before"]) == 100
        assert len(answer["after"]) == 80
        # To both ends of the document.
        text = answer["before"] + passage + answer["after"]
        up, down = answer["previous"], answer["following"]
        while up:
            more = post(searched, "/document", **place | up, end=up["start"], before=4000, after=0)
            text, up = more["before"] + text, more["previous"]
        while down:
            more = post(searched, "/document", **place | down, before=0, after=4000)
            text, down = text + more["after"], more["following"]
        assert text == LONG
        state = post(searched, "/search", query="winch 150", collection="notes")["hits"][0]["state"]
        assert state == "missing"
    finally:
        moved.rename(file)


def test_a_name_that_is_not_utf8_is_found_again(searched: Running) -> None:
    hit = post(searched, "/search", query="waffles", collection="notes")["hits"][0]
    assert hit["document"] == "notes/caf\ufffd menu.md"
    answer = post(searched, "/document", collection="notes", document=hit["document"])
    assert "waffles" in answer["after"]


@pytest.mark.parametrize("name", ["/etc/passwd", "notes/../../x", "notes", "", "../notes.db"])
def test_only_documents_of_the_collection_are_read(searched: Running, name: str) -> None:
    status, message = refused(searched, "/document", collection="notes", document=name)
    assert status == (404 if name else 400)
    assert "document" in message


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({}, 400, "query is missing"),
        ({"query": " \n"}, 400, "query is missing"),
        ({"query": 3}, 400, "it is a string"),
        ({"query": "x" * 20_001}, 400, "20,000 characters"),
        ({"query": "x", "mode": "magic"}, 400, "both, words, meaning"),
        ({"query": "x", "n": 0}, 400, "from 1 to 200"),
        ({"query": "x", "n": "3"}, 400, "from 1 to 200"),
        ({"query": "x", "folders": "notes"}, 400, "a list of strings"),
        ({"query": "x", "collection": "other"}, 404, "this server has: notes, texts"),
        ({"query": "x", "collection": "../../etc/x"}, 404, "there is no collection"),
        ({"query": "x", "min_score": "high"}, 400, "it is a number"),
    ],
)
def test_a_wrong_request_is_told_what_is_right(
    searched: Running, fields: dict[str, object], status: int, words: str
) -> None:
    answered, message = refused(searched, "/search", **fields)
    assert (answered, words in message) == (status, True), message


def test_the_model_is_loaded_once(searched: Running) -> None:
    for name in ("notes", "texts"):
        post(searched, "/search", query="gale", collection=name)
    models = httpx.get(f"{searched.url}/status").json()["models"]
    assert [(model["id"], model["loaded"]) for model in models] == [("starter-embedding", True)]


def test_the_map_has_the_passages_that_are_found(searched: Running) -> None:
    data = post(searched, "/map", collection="notes")
    points = {
        (data["documents"][document], record, start): length
        for document, record, start, length in zip(
            data["document"], data["record"], data["start"], data["length"], strict=True
        )
    }
    assert len(points) == data["total"] == len(data["x"]) == len(data["text"])
    hits = post(searched, "/search", query="winch ferry", collection="notes", n=20)["hits"]
    assert hits
    for hit in hits:
        places = [hit, *hit["others"]]
        keys = {(place["document"], place["record"], place["start"]) for place in places}
        (key,) = keys & points.keys()
        assert points[key] == len(hit["text"])
    assert len(post(searched, "/map", collection="notes", limit=3)["x"]) == 3
    assert refused(searched, "/map", limit=3) == (
        400,
        "collection is missing: send the name of one",
    )


@pytest.mark.slow
def test_collections_come_change_and_go_while_the_server_runs(
    tmp_path: Path, starter: Embedder
) -> None:
    folder = tmp_path / "collections"
    with running("-m", "starter", environment={"JLOCAL_HOME": str(tmp_path)}) as server:
        assert post(server, "/collections") == {"collections": []}
        assert post(server, "/search", query="gale")["hits"] == []
        folder.mkdir()
        file = folder / "new.db"
        with Collection(file, starter) as collection:
            collection.add("A gale is forecast.", "one")
        assert documents(post(server, "/search", query="gale")) == ["one"]
        assert len(post(server, "/map", collection="new")["x"]) == 1
        with Collection(file, starter) as collection:
            collection.add("The gale is over.", "two")
        assert set(documents(post(server, "/search", query="gale"))) == {"one", "two"}
        assert len(post(server, "/map", collection="new")["x"]) == 2
        # Made anew, in another file of the same name.
        file.unlink()
        with Collection(file, starter) as collection:
            collection.add("The gale begins.", "three")
        assert documents(post(server, "/search", query="gale")) == ["three"]
        # A damaged one does not stop the search of the others.
        damaged = folder / "damaged.db"
        damaged.write_bytes(b"SQLite format 3\0" + bytes(500))
        (folder / "empty.db").touch()
        answer = post(server, "/search", query="gale")
        assert documents(answer) == ["three"]
        assert [one["collection"] for one in answer["failed"]] == ["damaged"]
        assert refused(server, "/search", query="gale", collection="damaged")[0] == 503
        assert refused(server, "/search", query="gale", collection="empty")[0] == 404
        errors = {one["name"]: one["error"] for one in post(server, "/collections")["collections"]}
        assert errors["damaged"]
        assert errors["empty"] is errors["new"] is None
        file.unlink()
        damaged.unlink()
        assert refused(server, "/search", query="gale", collection="new")[0] == 404
        assert refused(server, "/search", query="gale", collection="empty")[0] == 404


@pytest.mark.slow
def test_a_model_that_only_a_collection_needs(tmp_path: Path, home: Path) -> None:
    model = shutil.copy(FILE, tmp_path / "secret-model.gguf")
    database = tmp_path / "c.db"
    with Collection(database, model) as collection:
        collection.add("A gale is forecast.", "one")
    named = ("-d", str(database), "-d", str(home / "collections" / "texts.db"))
    with running("-m", "starter", *named) as server:
        assert [one["name"] for one in post(server, "/collections")["collections"]] == [
            "c",
            "texts",
        ]
        assert documents(post(server, "/search", query="gale", collection="c")) == ["one"]
        listed = httpx.get(f"{server.url}/v1/models").json()["data"]
        assert {item["id"].partition(":")[0] for item in listed} == {"starter-embedding"}
        assert len(httpx.get(f"{server.url}/status").json()["models"]) == 2
        # It is deleted: words need none.
        Path(model).unlink()
        status, message = refused(server, "/search", query="gale", collection="c")
        assert (status, 'mode "words"' in message) == (503, True)
        found = post(server, "/search", query="gale", collection="c", mode="words")
        assert documents(found) == ["one"]
        # All others are still searched.
        answer = post(server, "/search", query="gale")
        assert {hit["collection"] for hit in answer["hits"]} == {"texts"}
        assert [one["collection"] for one in answer["failed"]] == ["c"]


def test_names_of_documents() -> None:
    paths = ["/a/notes/x.md", "/b/notes/x.md", "/b/notes/deep/y.md", "/c/one.md", "/z/lone.md"]
    names = DocumentNames.of(["/a/notes", "/b/notes", "/b/notes/deep", "/c/one.md"], paths)
    assert [names.name(path) for path in paths] == [
        "a/notes/x.md",
        "b/notes/x.md",
        "deep/y.md",
        "one.md",
        "z/lone.md",
    ]
    assert names.name("an added/id") == "an added/id"
    assert dict(names.folders(paths, 10)) == {"a/notes": 1, "b/notes": 1, "deep": 1, "z": 1}
