"""Decoding HTML pages.

The rules are those of browsers (https://html.spec.whatwg.org/#determining-the-character-encoding),
except that a declaration is ignored where the bytes contradict it: more of the page is readable.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

from jlocal.inputs.encodings import byte_order_mark

_WITHOUT_MARK = (
    (re.compile(rb"(?:\s\0)*<\0[!?a-zA-Z]\0"), "utf-16-le"),
    (re.compile(rb"(?:\0\s)*\0<\0[!?a-zA-Z]"), "utf-16-be"),
)
# Python's codecs of these names lack characters of the web's encodings.
_SUPERSETS = {
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "gbk": "gb18030",
    "big5": "big5hkscs",
    "iso8859-11": "cp874",
}
# Bytes from 0x80 to 0x9F are letters or quotation marks of these Windows encodings.
_WINDOWS = {"iso8859-2": "cp1250", "iso8859-7": "cp1253", "iso8859-8": "cp1255"}
_MULTIBYTE = {"cp932", "cp949", "gb18030", "big5hkscs", "euc_jp", "iso2022_jp"}
_NOT_WESTERN = re.compile("[^\0-\xff\u2010-\u2026\u20ac\ufffd]")
# Names that databases, Windows and Python give to UTF-8.
_UTF8 = re.compile(r"utf[-_]?8|cp-?65001", re.IGNORECASE)
# Minimum number of bytes above ASCII to distinguish single-byte encodings.
_EVIDENCE = 10
_SAMPLE = 128 << 10

# Browsers scan 1024 bytes first, and continue while they parse.
_DECLARED_WITHIN = 64 << 10
_XML = re.compile(rb"<\?xml\b[^>]*?\bencoding\s*=\s*[\"']([^\"'>]*)[\"']")
_COMMENT_END = re.compile(rb"--!?>")
_TAG = re.compile(rb"<(/?[a-zA-Z][^\s/>]*)")
_ATTRIBUTE = re.compile(
    rb"[\s/]*([^\s/>][^\s/>=]*)(?:\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s>\"'][^\s>]*)))?"
)
_CHARSET = re.compile(rb"charset\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s;\"']+))", re.IGNORECASE)
# The content of these elements is not markup.
_RAW = {b"script", b"style", b"title", b"textarea"}


def decode(data: bytes) -> str:
    """Decode a page, with U+FFFD for invalid bytes."""
    mark, marked = byte_order_mark(data)
    if marked:
        return data[len(mark) :].decode(marked, "replace")
    for pattern, encoding in _WITHOUT_MARK:
        if pattern.match(data):
            return data.decode(encoding, "replace")
    declared = declared_encoding(data)
    utf8 = _Decoded.of(data, "utf-8")
    if declared == "utf-8":
        candidates = [utf8] if utf8.is_likely else []
    elif declared in _MULTIBYTE:
        said = _Decoded.of(data, declared)
        # A short text in a multibyte encoding may also be valid UTF-8.
        candidates = [said] if said.is_likely and (utf8.bad or not said.bad) else []
    elif utf8.bad < utf8.good or (utf8.bad == utf8.good and utf8.is_western):
        candidates = [utf8]
    else:
        said = _Decoded.of(data, declared or "utf-8")
        candidates = [said] if said.is_likely and declared else []
    if not utf8.bad and b"\x1b$" not in data:
        # The rest are short texts in multibyte encodings, and plain ASCII.
        candidates.append(utf8)
    return candidates[0].text if candidates else data.decode(_detected(data), "replace")


def declared_encoding(data: bytes) -> str | None:
    """Return Python's name of the first declared encoding that exists."""
    head = data[:_DECLARED_WITHIN]
    xml = _XML.match(head)
    for label in [*([xml[1]] if xml else []), *_labels(head)]:
        text = label.decode("ascii", "replace").strip()
        if _UTF8.match(text):
            return "utf-8"
        name = map_encoding_to_html5(text, fallback_utf8=False)
        if name:
            # A declaration in ASCII bytes cannot be in a UTF-16 text.
            return "utf-8" if name.startswith("utf-16") else _SUPERSETS.get(name, name)
    return None


@dataclass(frozen=True)
class _Decoded:
    """A decoded text, with its number of non-ASCII characters and of decoding errors."""

    text: str
    good: int
    bad: int

    @classmethod
    def of(cls, data: bytes, encoding: str) -> _Decoded:
        try:
            text, bad = data.decode(encoding), 0
        except UnicodeDecodeError:
            text = data.decode(encoding, "replace")
            bad = text.count("\ufffd")
        return cls(text, len(text) - len(text.encode("ascii", "ignore")) - bad, bad)

    @property
    def is_likely(self) -> bool:
        return self.bad <= max(1, self.good)

    @property
    def is_western(self) -> bool:
        """Whether no other characters are in it than those that UTF-8 as Windows-1252 garbles most.

        They come out as "Ã©" or "â€œ" there, which nobody writes.
        """
        return self.good > 0 and not _NOT_WESTERN.search(self.text)


def _labels(head: bytes) -> Iterator[bytes]:
    """Yield the encodings in meta elements, by the standard's prescan, which also skips scripts."""
    position = 0
    while (position := head.find(b"<", position)) >= 0:
        if head.startswith(b"<!--", position):
            # Comments may be as short as `<!-->`.
            end = _COMMENT_END.search(head, position + 2)
            position = end.end() if end else len(head)
        elif tag := _TAG.match(head, position):
            name = tag[1].lower()
            attributes, position = _attributes(head, tag.end())
            if name == b"meta":
                yield from _declared_by(attributes)
            elif name in _RAW:
                end = re.compile(rb"</" + name, re.IGNORECASE).search(head, position)
                position = end.start() if end else len(head)
        elif head[position + 1 : position + 2] in (b"!", b"/", b"?"):
            end_of_it = head.find(b">", position)
            position = end_of_it if end_of_it >= 0 else len(head)
        else:
            position += 1


def _attributes(head: bytes, position: int) -> tuple[dict[bytes, bytes], int]:
    attributes: dict[bytes, bytes] = {}
    while match := _ATTRIBUTE.match(head, position):
        value = match[2] or match[3] or match[4] or b""
        attributes.setdefault(match[1].lower(), value)
        position = match.end()
    return attributes, position


def _declared_by(meta: dict[bytes, bytes]) -> Iterator[bytes]:
    if b"charset" in meta:
        yield meta[b"charset"]
    elif meta.get(b"http-equiv", b"").lower() == b"content-type":
        for match in _CHARSET.findall(meta.get(b"content", b""))[:1]:
            yield b"".join(match)


def _detected(data: bytes) -> str:
    """Detect an encoding; without evidence it is Windows-1252, as in browsers."""
    sample = data[:_SAMPLE]
    # The web has no name of its own for cp949, which is Korean.
    detected = str(detect_encoding(sample, html5_compatible=False, from_html_meta=False)).lower()
    name = "cp949" if detected == "cp949" else map_encoding_to_html5(detected, fallback_utf8=False)
    name = _SUPERSETS.get(str(name), name)
    if name in _MULTIBYTE and _Decoded.of(data, name).is_likely:
        return name
    if not name or name == "utf-8" or _count(sample, 0x80, 0xFF) < _EVIDENCE:
        return "cp1252"
    return _WINDOWS.get(name, name) if _count(sample, 0x80, 0x9F) else name


def _count(data: bytes, low: int, high: int) -> int:
    return len(data) - len(data.translate(None, bytes(range(low, high + 1))))
