"""E-mails: what is read of them, in which encoding, and what is refused."""

from __future__ import annotations

import contextlib
import sys
import time
from email.message import EmailMessage
from pathlib import Path

import pytest

from jlocal.errors import TextError
from jlocal.inputs import mail as mail_reader
from jlocal.inputs.documents import Document, read_file
from jlocal.inputs.flowing import Flowing, read_flowing
from support.office_files import mail

HEAD = "Budget\n\nFrom: Ána <ana@example.org>\nTo: ben@example.org\n"
SUBJECT = ((0, len("Budget"), 0),)
HEAD += "Date: Mon, 04 Mar 2024 10:00:00 +0100"


def read(data: bytes) -> Flowing:
    return read_flowing(data, "mail")


def message(headers: bytes, body: bytes) -> bytes:
    return b"From: a@x.org\r\n" + headers + b"\r\n\r\n" + body


def body(data: bytes) -> str:
    found = read(data)
    assert not found.losses
    return found.text.removeprefix("From: a@x.org").strip()


def test_a_mail_is_its_subject_people_date_and_text(tmp_path: Path) -> None:
    (tmp_path / "a.eml").write_bytes(mail("We have 300 €.\n\nGröße 日本\n", attached=("plan.pdf",)))
    text = f"{HEAD}\n\nWe have 300 €.\n\nGröße 日本\n\nAttached: plan.pdf"
    assert read_file(tmp_path / "a.eml") == Document(
        str(tmp_path / "a.eml"), text, headings=((0, 6, 0),)
    )


def test_plain_text_is_preferred_and_html_read_where_there_is_nothing_else() -> None:
    assert read(mail("plain", html="<p>page</p>")) == Flowing(f"{HEAD}\n\nplain", SUBJECT)
    page = mail(html="<html><body><h1>Größe</h1><script>x</script><p>page</p></body></html>")
    assert read(page) == Flowing(f"{HEAD}\n\nGröße\n\npage", SUBJECT)
    blank = mail(" \n", html="<p>page</p>")
    assert read(blank).text == f"{HEAD}\n\npage"


def test_html_needs_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resiliparse", None)
    found = mail_reader.read(mail(html="<p>page</p>"))
    needs = "an HTML e-mail; HTML pages need: pip install 'jlocal[html]'"
    assert found == {"text": HEAD, "headings": [*SUBJECT], "losses": [needs]}


def test_texts_between_attachments_are_all_read() -> None:
    whole = EmailMessage()
    whole["Subject"] = "List"
    whole.set_content("first")
    whole.add_attachment("inside a file", filename="a.txt")
    whole.add_attachment("footer of the list", disposition="inline")
    forwarded = EmailMessage()
    forwarded["Subject"] = "The one before"
    forwarded.set_content("not read")
    whole.add_attachment(forwarded)
    assert read(bytes(whole)).text == (
        "List\n\nfirst\n\nfooter of the list\n\nAttached: a.txt\nAttached: The one before"
    )


def test_encodings_of_a_body() -> None:
    plain = b"Content-Type: text/plain; charset="
    text = "Привет, мир. Это письмо о гавани и лодках."
    assert body(message(plain + b"koi8-r", text.encode("koi8-r"))) == text
    # Neither what is missing nor what is wrong keeps a text from being read.
    assert body(message(plain + b"utf-8", text.encode("utf-8"))) == text
    assert body(message(plain + b"us-ascii", text.encode("utf-8"))) == text
    assert body(message(plain + b"x-unknown", text.encode("utf-8"))) == text
    assert body(message(plain + b"iso-2022-jp", "日本".encode("iso-2022-jp"))) == "日本"
    assert body(message(plain + b"shift_jis", "日本".encode("cp932") + b"\x81")) == "日本\ufffd"
    page = b"Content-Type: text/html; charset=windows-1251"
    assert body(message(page, f"<p>{text}</p>".encode("cp1251"))) == text
    page = b"Content-Type: text/html"
    meta = f"<meta charset=windows-1251><p>{text}</p>".encode("cp1251")
    assert body(message(page, meta)) == text
    page = b"Content-Type: text/html; charset=utf8mb4"
    assert body(message(page, "<p>Größe der Häfen".encode() + b"\xff")) == "Größe der Häfen\ufffd"
    unclear = read(message(b"Subject: s", b"\xe9"))
    assert unclear.losses == ("its encoding is neither declared nor clear",)


def test_headers_of_other_languages_and_of_broken_programs() -> None:
    def subject(raw: bytes) -> str:
        return read(b"Subject: " + raw + b"\n\nx").text.split("\n")[0]

    assert subject(b"=?utf-8?q?Gr=C3=B6=C3=9Fe?=\n =?koi8-r?B?8NLJ18XU?=") == "GrößeПривет"
    assert subject("Größe".encode()) == "Größe"
    assert subject(b"=?x-none?q?abc?= and =?utf-8?q?=ff?=").startswith("abc and")
    assert subject(b"a\n b") == "a b"
    found = read(b"To: =?utf-8?q?=0a?= <(((@,;:\nDate: \xff\xfe\nFrom: @\nSubject: s\n\nx")
    assert found.text.endswith("x")


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (b"Content-Disposition: attachment; filename*=utf-8''%ff\0", "Attached: \ufffd\ufffd"),
        (b"Content-Disposition: attachment; filename*=utf-8''a%00b", "Attached: a\ufffdb"),
        (b"Subject: =?utf-8?q?one=00two?=", "one\ufffdtwo"),
        (b"To: one\0two <a@x.org>", "\ufffd"),
        (b"Content-Type: application/pdf; name=a\0b", "\ufffd"),
    ],
)
def test_no_part_of_a_mail_brings_a_null_character(header: bytes, said: str) -> None:
    text = read(message(header, b"body")).text
    assert said in text
    assert "\0" not in text


def test_what_is_refused_and_what_is_only_reported() -> None:
    for data in (b"", b"just a text\n\nwith lines", b"\x89PNG\r\n\x1a\n" + bytes(100)):
        with pytest.raises(TextError, match="not an e-mail, or damaged"):
            read(data)
    locked = message(b"Subject: s\nContent-Type: application/pkcs7-mime; name=a.p7m", b"AAAA")
    assert read(locked).losses == ("encrypted or sealed; only its headers are read",)
    assert read(mail()).text == HEAD


@pytest.mark.slow
def test_a_mail_made_to_take_time_or_memory_has_an_end() -> None:
    start = time.monotonic()
    deep = b"".join(
        b"Content-Type: multipart/mixed; boundary=%d\n\n--%d\n" % (n, n) for n in range(3000)
    )
    many = b"To: " + b"a <a@x.org>, " * 2000 + b"\n\nx"
    words = b"Subject: " + b"=?utf-8?q?a?= " * 5000 + b"\n\nx"
    brackets = b"Subject: s\nTo: " + b"(" * 5000 + b"\n\nx"
    for data in (b"From: a@x\n" + deep + b"\n\ntext", many, words, brackets):
        with contextlib.suppress(TextError):
            assert read(data).text
    assert time.monotonic() - start < 60
