"""HTML pages: what is read, in which encoding, and what is refused and why."""

from __future__ import annotations

import os
import re
import socket
import time
from contextlib import closing
from pathlib import Path

import pytest

from jlocal.errors import TextError
from jlocal.inputs.flowing import read_flowing
from jlocal.inputs.worker import Worker
from support.texts import AWKWARD

DATA = Path(__file__).parents[1] / "data" / "html"


def shown(data: bytes | str) -> str:
    return read_flowing(data.encode() if isinstance(data, str) else data, "html").text


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


HEADINGS = {
    "levels": (
        "<title>T</title><p>b<h1>One <i>x</i></h1>a<h3>\n Three </h3><div><h2>Two<br>too</h2>b",
        ["0 T", "1 One x", "3 Three", "2 Two\ntoo"],
    ),
    "title twice": ("<title>A</title><h1>A</h1>a<h2>B</h2>", ["1 A", "2 B"]),
    "code": ("<pre># no</pre><h2>yes</h2>", ["2 yes"]),
    "empty": ("<h1> </h1><h2></h2>a<h3><img alt=Logo></h3>", ["3 Logo"]),
    "script": ("<script><h1>no</h1></script><template><h2>no</h2></template>a", []),
    "in a list": ("<ul><li><h2>in</h2>a</ul>", ["2 in"]),
    "marks in the page": (
        "<p>\ufdd01x\ufdd1<h1>a&#xfdd1;b</h1><p>&#xfdd0;2&#xfdd0;",
        ["1 x", "1 a"],
    ),
}


@pytest.mark.parametrize("name", HEADINGS)
def test_headings_are_known_by_their_place_in_the_text(name: str) -> None:
    source, headings = HEADINGS[name]
    page = read_flowing(source.encode(), "html")
    found = [f"{level} {page.text[start:end]}" for start, end, level in page.headings]
    assert found == headings
    assert not re.search("[\ufdd0\ufdd1]", page.text)


SAMPLES = {
    "cp1252_undeclared": "Rezepte\n\nCrème brûlée – die „süße“ Nachspeise",
    "utf8_declared_latin1": "Harbour\n\nShe said “hello” to the captain.",
    "utf8_one_bad_byte": "Fees\n\nThe fee is \ufffd 25 per term, paid in advance.\n\n"
    "Überweisung möglich.",
}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_page_that_browsers_show_is_read(name: str) -> None:
    assert shown((DATA / f"{name}.html").read_bytes()) == SAMPLES[name]


DECLARATIONS = {
    "in a description": b"<meta name=description content='say charset=koi8-r'>",
    "in a comment": b"<!-- <meta charset=koi8-r> -->",
    "in a script": b"<script>document.write('<meta charset=koi8-r>')</script>",
    "in a title": b"<title><meta charset=koi8-r></title>",
    "in an attribute": b"<link title='<meta charset=koi8-r>' data-charset=koi8-r>",
    "in an end tag": b"</meta charset=koi8-r>",
    "unknown": b"<meta charset=utf8mb4><meta charset=rot13><meta charset=unicode_escape>",
    "without http-equiv": b"<meta content='text/html; charset=koi8-r'>",
    "an empty comment": b"<!-->",
}


@pytest.mark.parametrize("name", DECLARATIONS)
def test_only_a_declaration_declares(name: str) -> None:
    page = "<meta charset=windows-1251><p>Привет, гавань".encode("cp1251")
    assert shown(DECLARATIONS[name] + page).endswith("Привет, гавань")


def test_a_declaration_far_down_counts() -> None:
    page = f"<style>{'x' * 5000}</style><meta charset=koi8-r><p>Привет".encode("koi8-r")
    assert shown(page) == "Привет"


UNDECLARED = {
    "cp1252": "Größe “x” naïve café — €5",
    "cp1250": "Příliš žluťoučký kůň úpěl ďábelské ódy",
    "cp1251": "Привет, как дела? Хорошо",
    "cp1253": "Καλημέρα κόσμε τι κάνεις",
    "cp1255": "שלום עולם מה שלומך",
    "koi8-r": "Привет, как дела? Хорошо",
    "cp932": "日本語のテキストです。港の倉庫",
    "euc_jp": "日本語のテキストです。港の倉庫",
    "iso2022_jp": "日本語のテキストです",
    "gbk": "港口仓库的规则在这里",
    "big5": "港口倉庫的規則在這裡",
    "euc_kr": "항구 창고 규칙입니다",
    "utf-8": "Größe 日本",
    "utf-16-le": "harbour",
    "utf-16-be": "harbour",
}


@pytest.mark.parametrize("encoding", UNDECLARED)
def test_an_encoding_that_is_not_declared_is_recognised(encoding: str) -> None:
    text = UNDECLARED[encoding]
    page = f"<html><head><title>{text}</title></head><body><p>{text}</p></body></html>"
    assert shown(page.encode(encoding)) == text


def test_a_wrong_declaration_is_not_followed() -> None:
    page = "<meta charset={}><p>Größe, Ärger, süß".format
    for declared, real in (
        ("utf-8", "cp1252"),
        ("iso-8859-1", "utf-8"),
        ("windows-1251", "utf-8"),
        ("shift_jis", "utf-8"),
    ):
        assert shown(page(declared).encode(real)) == "Größe, Ärger, süß"
    # As short texts of it may be, this is valid UTF-8 as well.
    assert shown("<meta charset=gbk><p>联通".encode("gbk")) == "联通"


def test_one_bad_byte_costs_one_character() -> None:
    assert shown("<meta charset=utf-8><p>Größe".encode() + b"\xff!") == "Größe\ufffd!"
    assert shown("<meta charset=shift_jis><p>日本の港".encode("cp932")[:-1]) == "日本の\ufffd"
    assert shown("<p>Harbour\0 office") == "Harbour\ufffd office"
    assert shown("<meta charset=iso-8859-1><p>Größe, süß".encode() + b"\xff") == "Größe, süß\ufffd"
    for name in ("utf8mb4", "UTF8MB3", "utf_8", "utf-8-sig", "cp65001"):
        assert shown(f"<meta charset={name}><p>café ".encode() + b"\xe9") == "café \ufffd"
    assert shown("<p>The café is open. ".encode() + b"\xe9") == "The café is open. \ufffd"
    page = "<p>She said “yes” to the captain of the harbour. ".encode() + b"\xe9 \xe8"
    assert shown(page) == "She said “yes” to the captain of the harbour. \ufffd \ufffd"
    # The last two bytes of the name are a character of UTF-8 too.
    assert shown("<p>Le bar «CAFÉ»".encode("cp1252")) == "Le bar «CAFÉ»"


@pytest.mark.parametrize("name", [name for name, text in AWKWARD.items() if text.strip()])
def test_awkward_text_in_html(name: str) -> None:
    text = AWKWARD[name]
    if "\0" in text or name in ("control characters", "replacement character"):
        return
    escaped = text.replace("&", "&amp;").replace("<", "&lt;")
    # White space is HTML's own; nothing else may change, and nothing may be lost.
    assert shown(f"<p>{escaped}</p>").split() == text.split()


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (b"", "no text in it"),
        ("<body> \n </body>", "no text in it"),
        ("<div id=app></div><script>render()</script>", "a script may write"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20, "not text"),
        (os.urandom(20_000), "not text"),
        ("<p>" + "a\0" * 50, "not text"),
        ("<meta charset=utf-8>" + "\ufffd" * 9, "not text"),
        ("x" * ((16 << 20) + 1), "more than 16 million characters"),
    ],
)
def test_html_that_is_refused(source: bytes | str, reason: str) -> None:
    with pytest.raises(TextError, match=re.escape(reason)):
        shown(source)


@pytest.mark.slow
@pytest.mark.parametrize(
    "source",
    [
        "<meta " * 500_000,
        "<!--" * 500_000,
        "<table><tr><td>" * 50_000,
        "<?xml ?>" + "<![CDATA[" * 300_000,
        "<?xml ?>" + "<script " * 300_000,
        "<p><a><b>" * 100_000,
        "<div>" * 100_000,
        f"<p title='{'x' * 8_000_000}'>",
        "<p title='" * 500_000,
        "<p>x" * 500_000,
        "<svg><p>" * 100_000,
    ],
    ids=lambda source: source[:16],
)
def test_hostile_html_takes_no_time(source: str) -> None:
    start = time.monotonic()
    assert "the end" in shown(f"<p>the end</p>{source}")
    assert time.monotonic() - start < 20


@pytest.mark.slow
def test_a_page_that_takes_forever() -> None:
    attributes = " ".join(f"a{number}=x" for number in range(100_000))
    with closing(Worker("jlocal.inputs.html", seconds=2, memory=2 << 30)) as worker:
        start = time.monotonic()
        with pytest.raises(TextError, match="not read within 2 seconds"):
            worker.read(f"<p {attributes}>text</p>".encode())
        assert time.monotonic() - start < 20
        worker.seconds = 60
        assert worker.read(b"<p>the next one")["text"] == "the next one"


def test_lists_in_lists_do_not_grow_without_end() -> None:
    page = "<ul><li>x" * 3000
    assert len(shown(page)) < 50 * 3000


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
