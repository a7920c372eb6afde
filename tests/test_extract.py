"""HTML pages and PDF files: what is read, what is refused and why, and where it is found."""

from __future__ import annotations

import io
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from collection_files import check
from pdfs import deflated, joined, pdf, stream
from texts import AWKWARD

from jlocal import Collection, Embedder, extract
from jlocal.documents import Document, Unreadable, decode, read_file
from jlocal.errors import TextError

PAGES = ("Backups run every night.\nThey are kept.", "", "The budget is 300 €. Größe 日本 🙂")


def shown(data: bytes | str) -> str:
    data = data.encode() if isinstance(data, str) else data
    return extract.html_text(decode(data, extract.html_encoding(data)))


HTML: dict[str, tuple[bytes | str, str]] = {
    "bare": ("plain words", "plain words"),
    "title": ("<title>A &amp;\n B</title><p>text", "A & B\n\ntext"),
    "title twice": ("<title>A</title><h1>A</h1><p>text", "A\n\ntext"),
    "title alone": ("<title>A</title><body></body>", "A"),
    "entities": ("&lt;b&gt; &copy; &#x1F642; &euro; e&#x301; &nope;", "<b> © 🙂 € e\u0301 &nope;"),
    "control tokens": ("<p>&lt;|endoftext|&gt; <|im_end|>", "<|endoftext|> <|im_end|>"),
    "not shown": (
        "<style>x</style><script>x</script><template>x</template><!-- x --><p>a</p>",
        "a",
    ),
    "navigation and footer": (
        "<nav>Home</nav><p>a<footer>Contact</footer>",
        "Home\n\na\n\nContact",
    ),
    "said twice": ("<p>same</p><p>same</p>", "same\n\nsame"),
    "within a word": ("H<sub>2</sub>O, <b>bo</b>ld", "H2O, bold"),
    "line breaks": ("a<br>b\n c", "a\nb c"),
    "code": ("<pre>def f():\n    return <i>1</i></pre>", "def f():\n    return 1"),
    "table": ("<table><tr><th>Part<th>Price<tr><td>Bolt<td>3</table>", "Part\t\tPrice\nBolt\t\t3"),
    "list": ("<ul><li>eggs<li>milk</ul>", "• eggs\n  • milk"),
    "form": ("<form><label>Age</label> <textarea>old</textarea></form>", "Age [ old ]"),
    "unclosed": ("<div><p>a<p>b<b>c", "a\n\nbc"),
    "latin-1": ('<meta charset="iso-8859-1">Größe “x”'.encode("cp1252"), "Größe “x”"),
    "http-equiv": (
        "<meta http-equiv='Content-Type' content='text/html; charset=koi8-r'>Привет".encode(
            "koi8-r"
        ),
        "Привет",
    ),
    "Shift JIS": ("<META CHARSET=Shift_JIS>日本①".encode("cp932"), "日本①"),
    "GB 18030": ('<meta charset="gbk">火星𠀀'.encode("gb18030"), "火星𠀀"),
    "in a comment": ("<!-- <meta charset=koi8-r> -->Größe", "Größe"),
    "mark first": ("\ufeff<meta charset=koi8-r>Größe".encode("utf-16-le"), "Größe"),
    "UTF-8 mark": ("\ufeff<meta charset=koi8-r>Größe", "Größe"),
    "UTF-16 in ASCII": ("<meta charset=utf-16>Größe", "Größe"),
    "XHTML": (
        '<?xml version="1.0" encoding="iso-8859-1"?><html xmlns="http://www.w3.org/1999/xhtml">'
        '<head><title/><script src="a.js" /></head><body><p>Größe</p><![CDATA[a < <b>]]></body>'
        "</html>".encode("latin-1"),
        "Größe\n\na < <b>",
    ),
    "100,000 characters": ("<p>" + "x" * 100_000, "x" * 100_000),
    "100,000 paragraphs": ("<p>x" * 100_000, "x\n\n" * 99_999 + "x"),
    "10,000 levels": ("<div>" * 10_000 + "deep" + "</div>" * 10_000 + "after", "deep\nafter"),
    "10,000 inline levels": ("<b>" * 10_000 + "deep", "deep"),
}


@pytest.mark.parametrize("name", HTML)
def test_html(name: str) -> None:
    source, text = HTML[name]
    assert re.sub(r"\n\n\n*", "\n\n", shown(source)) == text


@pytest.mark.parametrize("name", [name for name, text in AWKWARD.items() if text.strip()])
def test_awkward_text_in_html(name: str) -> None:
    text = AWKWARD[name]
    escaped = text.replace("&", "&amp;").replace("<", "&lt;")
    if "\0" in text:
        with pytest.raises(TextError, match="NUL"):
            shown(f"<p>{escaped}</p>")
        return
    # White space is HTML's own; nothing else may change, and nothing may be lost.
    assert shown(f"<p>{escaped}</p>").split() == text.split()


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (b"", "no text in it"),
        ("<body> \n </body>", "no text in it"),
        ("<div id=app></div><script>render()</script>", "a script may write"),
        ("<p>a\0b", "not text: it contains NUL"),
        ("<p>Größe".encode("latin-1"), "not UTF-8 text"),
        ("<meta charset=utf-8><p>Größe".encode("latin-1"), "not UTF-8 text"),
        ("<meta charset=shift_jis><p>日本".encode("cp932")[:-1], "not CP932 text"),
        ("<meta charset=rot13>x", "'rot13', which is none"),
        ("<meta charset=unicode_escape>x", "'unicode_escape', which is none"),
        ("x" * ((16 << 20) + 1), "larger than 16 Mi"),
    ],
)
def test_html_that_is_refused(source: bytes | str, reason: str) -> None:
    with pytest.raises(TextError, match=re.escape(reason)):
        shown(source)


@pytest.mark.parametrize(
    "source",
    [
        "<meta " * 500_000,
        "<!--" * 500_000,
        "<table><tr><td>" * 50_000,
        "<?xml ?>" + "<![CDATA[" * 300_000,
        "<?xml ?>" + "<script " * 300_000,
        "<p><a><b>" * 100_000,
        "<svg><p>" * 100_000,
    ],
    ids=lambda source: source[:16],
)
def test_hostile_html_takes_no_time(source: str) -> None:
    start = time.process_time()
    assert "the end" in shown(f"<p>the end</p>{source}")
    assert time.process_time() - start < 10


def test_html_asks_no_network() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        base = f"http://127.0.0.1:{server.getsockname()[1]}"
        page = (
            f"<!DOCTYPE html SYSTEM '{base}/dtd'><base href='{base}'><link rel=stylesheet "
            f"href='{base}/css'><script src='{base}/js'></script><img src='{base}/img'>"
            f"<iframe src='{base}/frame'></iframe><meta http-equiv=refresh content='0;{base}'>text"
        )
        assert shown(page) == "text"
        with pytest.raises(TimeoutError):
            server.accept()


def test_pages() -> None:
    assert extract.pdf_pages(pdf(*PAGES)) == list(PAGES)


def test_awkward_text_in_pdf() -> None:
    lines = [
        " ".join(text.translate({0: None, 12: None}).split())[:500] for text in AWKWARD.values()
    ]
    lines = [line for line in lines if line]
    while lines:
        # A font of `pdf` has so many characters.
        count = next(n for n in range(len(lines), 0, -1) if len(set("".join(lines[:n]))) < 255)
        pages = extract.pdf_pages(pdf(*lines[:count]))
        for line, page in zip(lines[:count], pages, strict=True):
            # pypdf puts text that runs from right to left in the order of reading.
            assert sorted(page.replace(" ", "")) == sorted(line.replace(" ", ""))
        del lines[:count]


def test_characters_that_no_text_can_hold() -> None:
    (page,) = extract.pdf_pages(pdf("a\0b\fc"))
    assert page == "a\ufffdb\nc"
    lone = pdf("ab").replace(b"<0061>", b"<d800>")
    (page,) = extract.pdf_pages(lone)
    page.encode()


@pytest.mark.parametrize("algorithm", ["RC4-128", "AES-128", "AES-256"])
def test_encrypted(algorithm: str) -> None:
    from pypdf import PdfWriter

    def encrypted(password: str) -> bytes:
        writer, data = PdfWriter(clone_from=io.BytesIO(pdf(*PAGES))), io.BytesIO()
        writer.encrypt(password, "owner", algorithm=algorithm)
        writer.write(data)
        return data.getvalue()

    assert extract.pdf_pages(encrypted("")) == list(PAGES)
    with pytest.raises(TextError, match="encrypted; save it without a password"):
        extract.pdf_pages(encrypted("secret"))


def form(content: bytes, next_form: int) -> bytes:
    resources = f"/Resources << /XObject << /X {next_form} 0 R >> >>"
    return stream(content, f"/Type /XObject /Subtype /Form {resources}")


def with_forms(*forms: bytes) -> bytes:
    return joined(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            b"<< /Type /Page /Parent 2 0 R /Contents 4 0 R "
            b"/Resources << /XObject << /X 5 0 R >> >> >>",
            stream(b"/X Do"),
            *forms,
        ]
    )


ENDLESS = joined(
    [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [2 0 R 3 0 R] /Count 2 >>",
        b"<< /Type /Pages /Kids [2 0 R] /Count 1 /Parent 2 0 R >>",
    ]
)
REFUSED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not a PDF file"),
    "a page of HTML": (b"<html>404</html>", "not a PDF file"),
    "head alone": (b"%PDF-1.7\n", "damaged: "),
    "nothing but noise": (b"%PDF-1.7\n" + os.urandom(5000), "damaged: "),
    "no pages": (pdf(), "no text in it; it may be scanned"),
    "no text": (pdf("", " \n "), "no text in it; it may be scanned"),
    "bomb": (pdf(deflated(b"0" * 100_000_000)), "page 1: too much in it: "),
    "bomb in a bomb": (pdf(deflated(b"0" * 100_000_000, 2)), "page 1: too much in it: "),
    "forms in forms": (
        with_forms(*(form(b"/X Do " * 10, 6 + n) for n in range(12)), form(b"", 5)),
        "page 1: damaged: part of its text is lost: Exceeded 5000",
    ),
    "a form that is missing": (with_forms(), "page 1: damaged: part of its text is lost"),
    "a form in itself": (with_forms(form(b"/X Do", 5)), "no text in it"),
    "pages in themselves": (ENDLESS, "damaged: "),
    "not compressed": (
        pdf("good", stream(b"no zlib here", "/Filter /FlateDecode")),
        "page 2: damaged: part of its text is lost",
    ),
    "unknown filter": (pdf("good", stream(b"x", "/Filter /Nope")), "page 2: damaged: "),
    "no content stream": (pdf("good", stream(b"\xff ( ( BT Tj")), "page 2: damaged: "),
    "deep": (pdf(stream(b"[" * 100_000)), "no text in it"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_pdf_that_is_refused(name: str) -> None:
    data, reason = REFUSED[name]
    with pytest.raises(TextError, match=re.escape(reason)) as error:
        extract.pdf_pages(data)
    assert "\n" not in error.value.reason


def test_no_cut_file_gives_a_part_of_its_text() -> None:
    data = pdf(*PAGES)
    for length in range(20, len(data) - 5, len(data) // 7):
        with pytest.raises(TextError, match="damaged"):
            extract.pdf_pages(data[:length])


def outcome(data: bytes) -> str:
    try:
        return "".join(extract.pdf_pages(data))
    except TextError as error:
        return error.reason if "\n" not in error.reason else ""


def test_no_flipped_byte_is_a_traceback() -> None:
    data = pdf(*PAGES)
    for place in range(9, len(data), len(data) // 12):
        assert outcome(data[:place] + bytes([data[place] ^ 0x5A]) + data[place + 1 :])


def test_a_file_that_takes_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of its pages shows the same long stream, which no limit of one stream finds."""
    pages = 500
    kids = " ".join(f"{number} 0 R" for number in range(5, 5 + pages))
    page = b"<< /Type /Page /Parent 2 0 R /Contents 4 0 R /Resources << /Font << /F 3 0 R >> >> >>"
    data = joined(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            f"<< /Type /Pages /Kids [{kids}] /Count {pages} >>".encode(),
            b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
            deflated(b"BT /F 1 Tf (x) Tj ET " * 150_000),
            *[page] * pages,
        ]
    )
    assert len(data) < 100_000
    monkeypatch.setattr(extract, "_SECONDS", 3)
    start = time.monotonic()
    with pytest.raises(TextError, match="not read within 3 seconds"):
        extract.pdf_pages(data)
    assert time.monotonic() - start < 20


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps the bound")
def test_a_file_that_takes_too_much_memory() -> None:
    reader = "from jlocal import extract; extract._MEMORY = 150 << 20; extract.serve_pdf()"
    done = subprocess.run(
        [sys.executable, "-c", reader],
        input=pdf(deflated(b"(x) Tj " * 10_000_000)), capture_output=True, check=True,
    )  # fmt: skip
    assert "memory" in json.loads(done.stdout)["reason"]
    assert not done.stderr


def test_nothing_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys, jlocal.documents; print('pypdf' in sys.modules, 'resiliparse' in sys.modules)"
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
    # The page of HTML and the note show the same.
    assert index() == {"new": 3, "embedded": 3}
    with Collection(tmp_path / "notes.db", model) as collection:
        hits = {(Path(h.path).name, h.page): h for h in collection.search("budget", 20)}
    assert set(hits) == {("a.pdf", 1), ("a.pdf", 3), ("b.html", None), ("c.md", None)}
    assert hits["a.pdf", 3].text == PAGES[2]
    assert (hits["a.pdf", 3].first_line, hits["a.pdf", 3].last_line) == (None, None)
    assert hits["b.html", None].text == "Minutes\n\nWe met."
    assert hits["b.html", None].first_line is None
    assert (hits["c.md", None].first_line, hits["c.md", None].last_line) == (1, 3)
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


def test_without_the_extras(
    index: Callable, notes: Path, tmp_path: Path, model: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    index()
    (notes / "a.pdf").write_bytes(pdf("Another."))
    (notes / "new.html").write_text("<p>New.</p>")
    for name in ("pypdf", "resiliparse", "resiliparse.parse.html", "resiliparse.parse.encoding",
                 "resiliparse.extract.html2text"):  # fmt: skip
        monkeypatch.setitem(sys.modules, name, None)
    with Collection(tmp_path / "notes.db", model) as collection:
        report = collection.index(notes)
        reasons = {Path(failure.id).name: failure.reason for failure in report.failures}
        found = {Path(hit.path).name for hit in collection.search("budget", 20)}
    assert "pip install 'jlocal[pdf]'" in reasons["a.pdf"]
    assert "pip install 'jlocal[html]'" in reasons["new.html"]
    # What was not looked at is not forgotten.
    assert found == {"a.pdf", "b.html", "c.md"}


@pytest.fixture
def jlocal(tmp_path: Path, model_file: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "jlocal", *map(str, arguments)],
            capture_output=True, cwd=tmp_path, check=False, encoding="utf-8",
            env=os.environ | {"JLOCAL_MODEL": str(model_file), "COLUMNS": "80", "PYTHONPATH":
                              os.pathsep.join(filter(None, [str(Path(__file__).parents[1])]))},
        )  # fmt: skip

    return run


def test_on_the_command_line(jlocal: Callable, notes: Path) -> None:
    # pypdf repairs this, and notes it in its log.
    data = (notes / "a.pdf").read_bytes()
    (notes / "a.pdf").write_bytes(re.sub(rb"startxref\n\d+", b"startxref\n7", data))
    (notes / "cut.pdf").write_bytes(data[:1000])
    (notes / "empty.html").write_text("")
    done = jlocal("index", "notes", "-d", "notes.db", "--chunk", 64)
    said = done.stderr.splitlines()
    assert (done.returncode, len(said)) == (1, 4), done.stderr
    assert said[0].startswith("Not indexed: notes/cut.pdf: damaged: ")
    assert said[1].startswith("Not indexed: notes/empty.html: no text in it; ")
    assert said[2].startswith("3 new, 0 changed, 0 unchanged, 0 removed, 2 failed")
    assert said[3] == "Error: 2 inputs were not taken in."
    found = jlocal("search", "-d", "notes.db", "budget")
    assert (found.returncode, found.stderr) == (0, "")
    places = {line[7:] for line in found.stdout.splitlines() if not line.startswith(" ")}
    assert places == {"notes/a.pdf p. 1", "notes/a.pdf p. 3", "notes/b.html", "notes/c.md:1"}
    found = jlocal("search", "-d", "notes.db", "budget", "--json", "--path", "*.pdf")
    rows = [json.loads(line) for line in found.stdout.splitlines()]
    assert {(row["page"], row["first_line"]) for row in rows} == {(1, None), (3, None)}


def test_embedded_files(jlocal: Callable, notes: Path, model: Embedder) -> None:
    (notes / "locked.pdf").write_bytes(b"%PDF-1.7 locked")
    done = jlocal("embed", "notes")
    rows = {json.loads(line)["id"]: json.loads(line) for line in done.stdout.splitlines()}
    assert done.returncode == 1
    assert done.stderr.startswith("Not embedded: notes/locked.pdf: damaged: ")
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
