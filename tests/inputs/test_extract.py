"""HTML pages and PDF files as inputs: when they are read, where found, and what is reported."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from jlocal import Collection, Embedder
from jlocal.inputs.documents import Document, Unreadable, read_file
from support.collection_files import check
from support.pdfs import ASCII, OFFICE, in_font, pdf, stream

PAGES = ("Backups run every night.\nThey are kept.", "", "The budget is 300 €. Größe 日本 🙂")


def test_nothing_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys, jlocal.inputs.documents;"
        "print('pypdfium2' in sys.modules, 'resiliparse' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_files_by_their_endings(tmp_path: Path) -> None:
    for name in ("a.html", "a.HTM", "a.xhtml", "a.txt", "html"):
        (tmp_path / name).write_text("<p>a</p>\n")
    read = {path.name: read_file(path) for path in tmp_path.iterdir()}
    texts = {name: item.text for name, item in read.items() if isinstance(item, Document)}
    assert texts == {
        "a.html": "a", "a.HTM": "a", "a.xhtml": "a", "a.txt": "<p>a</p>", "html": "<p>a</p>",
    }  # fmt: skip
    (tmp_path / "a.PDF").write_bytes(pdf(*PAGES))
    assert read_file(tmp_path / "a.PDF") == Document(str(tmp_path / "a.PDF"), "\f".join(PAGES))
    (tmp_path / "scan.pdf").write_bytes(pdf(""))
    scan = read_file(tmp_path / "scan.pdf")
    assert isinstance(scan, Unreadable)
    assert scan.is_known


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "a.pdf").write_bytes(pdf(*PAGES))
    (folder / "b.html").write_text("<title>Minutes</title><script>x</script><p>We met.</p>")
    (folder / "c.md").write_text("Minutes\n\nWe met.")
    return folder


@pytest.fixture
def index(tmp_path: Path, model: Embedder, notes: Path) -> Callable:
    def run(**options: object) -> dict[str, int]:
        with Collection(tmp_path / "notes.db", model) as collection:
            report = collection.index(notes, **options)
        check(tmp_path / "notes.db")
        names = ("new", "changed", "unchanged", "removed", "failed", "embedded")
        return {name: getattr(report, name) for name in names if getattr(report, name)}

    return run


def test_a_page_is_found_by_its_number(
    index: Callable, tmp_path: Path, notes: Path, model: Embedder
) -> None:
    # The page of HTML and the note show the same, but the page's title is known as its heading.
    assert index() == {"new": 3, "embedded": 4}
    with Collection(tmp_path / "notes.db", model) as collection:
        hits = {(Path(h.path).name, h.page): h for h in collection.search("budget", 20)}
    assert set(hits) == {("a.pdf", 1), ("a.pdf", 3), ("b.html", None)}
    assert hits["a.pdf", 3].text == PAGES[2]
    assert (hits["a.pdf", 3].first_line, hits["a.pdf", 3].last_line) == (None, None)
    assert hits["b.html", None].text == "Minutes\n\nWe met."
    assert hits["b.html", None].first_line is None
    # What stands in two files is one hit.
    (other,) = hits["b.html", None].others
    assert (Path(other.path).name, other.lines) == ("c.md", (1, 3))
    assert index() == {"unchanged": 3}
    (notes / "a.pdf").write_bytes(pdf(*PAGES, "And a fourth page."))
    assert index() == {"changed": 1, "unchanged": 2, "embedded": 1}


def test_no_chunk_runs_over_pages(tmp_path: Path, model: Embedder) -> None:
    pages = [f"Page {n}. " + " ".join(f"word{n}" for _ in range(60)) for n in range(3)]
    (tmp_path / "long.pdf").write_bytes(pdf(*pages))
    with Collection(tmp_path / "c.db", model) as collection:
        report = collection.index(tmp_path / "long.pdf", chunk=40)
        assert report.embedded > 6
        hits = collection.search("word", 10)
    assert sorted(hit.page for hit in hits) == [1, 2, 3]
    for hit in hits:
        assert f"word{hit.page - 1}" in hit.text


@pytest.mark.slow
def test_how_a_file_is_read_decides_too(index: Callable, tmp_path: Path) -> None:
    """A collection from before these files were read: their state is all that it knows."""
    time.sleep(2.1)
    index()
    assert index() == {"unchanged": 3}
    connection = sqlite3.connect(tmp_path / "notes.db")
    stamps = dict(connection.execute("SELECT path, stamp FROM document"))
    assert all(stamps.values())
    for path, stamp in stamps.items():
        before = " ".join(stamp.split()[:4])
        connection.execute("UPDATE document SET stamp = ? WHERE path = ?", (before, path))
    connection.execute("UPDATE content SET sha256 = zeroblob(id)")
    connection.commit()
    connection.close()
    assert index() == {"changed": 2, "unchanged": 1}


def test_what_cannot_be_read_is_said(
    index: Callable, notes: Path, tmp_path: Path, model: Embedder
) -> None:
    index()
    (notes / "a.pdf").write_bytes(pdf(*PAGES)[:900])
    (notes / "b.html").write_text("<script>all()</script>")
    (notes / "scan.pdf").write_bytes(pdf(""))
    assert index() == {"unchanged": 1, "failed": 3}
    with Collection(tmp_path / "notes.db", model) as collection:
        assert [Path(hit.path).name for hit in collection.search("budget", 20)] == ["c.md"]


@pytest.mark.slow
def test_a_page_that_cannot_be_read_is_reported_each_time_and_the_others_are_kept(
    jlocal: Callable, notes: Path
) -> None:
    bad = stream(b"no zlib here", "/Filter /FlateDecode")
    (notes / "a.pdf").write_bytes(pdf("A good page of words.", bad))
    (notes / "d.pdf").write_bytes(in_font(ASCII | {0x1E: b"\xf0\x01"}, OFFICE))
    for counts in ("4 of 4 files · ", "4 of 4 files: 4 unchanged · "):
        done = jlocal("index", "notes", "-d", "notes.db")
        said = own_lines(done.stderr)
        assert done.returncode == 1
        assert said[0].startswith("Not indexed: notes/a.pdf: damaged: ")
        assert said[1].startswith("Not indexed: notes/d.pdf p. 1: some letters cannot be told")
        assert said[2].startswith(f"  {counts}")
        assert said[3] == "Error: 2 inputs were not indexed."
    found = jlocal("search", "-d", "notes.db", "words")
    assert "notes/a.pdf p. 1" in found.stdout
    done = jlocal("embed", "notes")
    assert done.returncode == 1
    assert {json.loads(line)["id"] for line in done.stdout.splitlines()} == {
        "notes/a.pdf", "notes/b.html", "notes/c.md", "notes/d.pdf",
    }  # fmt: skip
    assert "Not embedded: notes/d.pdf p. 1: some letters" in done.stderr


def test_without_the_extras(
    index: Callable, notes: Path, tmp_path: Path, model: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    index()
    (notes / "a.pdf").write_bytes(pdf("Another."))
    (notes / "new.html").write_text("<p>New.</p>")
    named = notes.parent / "named.html"
    named.write_text("<p>Named.</p>")
    for name in ("pypdfium2", "resiliparse"):
        monkeypatch.setitem(sys.modules, name, None)
    with Collection(tmp_path / "notes.db", model) as collection:
        report = collection.index([notes, named])
        reasons = {Path(failure.id).name: failure.reason for failure in report.failures}
        hits = collection.search("budget", 20)
    found = {Path(place.path).name for hit in hits for place in (hit, *hit.others)}
    assert "pip install 'jlocal[pdf]'" in reasons["a.pdf"]
    assert "pip install 'jlocal[html]'" in reasons["named.html"]
    assert [(Path(s.path).name, s.reason, s.extra) for s in report.skipped] == [
        ("new.html", "extra", "html")
    ]
    # What was not looked at is not forgotten.
    assert found == {"a.pdf", "b.html", "c.md"}


@pytest.fixture
def jlocal(tmp_path: Path, model_file: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "jlocal", *map(str, arguments)],
            capture_output=True, cwd=tmp_path, check=False, encoding="utf-8",
            env=os.environ | {"JLOCAL_MODEL": str(model_file), "COLUMNS": "80", "PYTHONPATH":
                              os.pathsep.join(filter(None, [str(Path(__file__).parents[2])]))},
        )  # fmt: skip

    return run


def own_lines(stderr: str) -> list[str]:
    """Leave out the model, and what llama.cpp prints where a processor's AMX is not to be had."""
    lines = stderr.splitlines()
    return [line for line in lines if not line.startswith(("AMX is not ready", "  Model: "))]


@pytest.mark.slow
def test_on_the_command_line(jlocal: Callable, notes: Path) -> None:
    # Readers repair this.
    data = (notes / "a.pdf").read_bytes()
    (notes / "a.pdf").write_bytes(re.sub(rb"startxref\n\d+", b"startxref\n7", data))
    (notes / "cut.pdf").write_bytes(data[:1000])
    (notes / "empty.html").write_text("<p></p>")
    done = jlocal("index", "notes", "-d", "notes.db", "--chunk", 64)
    said = own_lines(done.stderr)
    assert (done.returncode, len(said)) == (1, 4), done.stderr
    assert said[0].startswith("Not indexed: notes/cut.pdf: damaged: ")
    assert said[1].startswith("Not indexed: notes/empty.html: no text in it; ")
    assert said[2].startswith("  3 of 5 files: 3 new · ")
    assert said[3] == "Error: 2 inputs were not indexed."
    found = jlocal("search", "-d", "notes.db", "budget")
    assert (found.returncode, own_lines(found.stderr)) == (0, [])
    places = {line[9:] for line in found.stdout.splitlines() if not line.startswith(" ")}
    pages = {"notes/a.pdf p. 1", "notes/a.pdf p. 3"}
    assert places == {*pages, "notes/b.html › Minutes"}
    assert "also in notes/c.md:1" in found.stdout
    found = jlocal("search", "-d", "notes.db", "budget", "--json", "--path", "*.pdf")
    rows = [json.loads(line) for line in found.stdout.splitlines()]
    assert {(row["page"], row["first_line"]) for row in rows} == {(1, None), (3, None)}


@pytest.mark.slow
def test_embedded_files(jlocal: Callable, notes: Path, model: Embedder) -> None:
    (notes / "locked.pdf").write_bytes(b"%PDF-1.7 locked")
    done = jlocal("embed", "notes")
    rows = {json.loads(line)["id"]: json.loads(line) for line in done.stdout.splitlines()}
    assert done.returncode == 1
    assert own_lines(done.stderr)[0].startswith("Not embedded: notes/locked.pdf: damaged: ")
    assert "Traceback" not in done.stderr
    assert set(rows) == {"notes/a.pdf", "notes/b.html", "notes/c.md"}
    (vector,) = (value for value in rows["notes/b.html"].values() if isinstance(value, list))
    expected = model.encode_document("Minutes\n\nWe met.")
    assert float(expected @ vector) > 0.9999


def test_composed_and_decomposed_names(tmp_path: Path) -> None:
    for form_of in ("NFC", "NFD"):
        path = tmp_path / unicodedata.normalize(form_of, "Crème brûlée.pdf")
        path.write_bytes(pdf("Cream"))
        assert read_file(path) == Document(str(path), "Cream")
