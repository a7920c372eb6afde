"""The texts whose vectors are compared: the built-in texts, or a user's.

The built-in texts are `texts.jsonl`, written for this project under its licence, Apache-2.0: short
texts, questions, sentences and paragraphs in 20 languages, code, and difficult cases for
tokenizers. Each language has the same content, so that each text has near neighbours.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jlocal.errors import TextError
from jlocal.inputs.documents import Unreadable
from jlocal.inputs.lines import read_lines

_FILE = Path(__file__).with_name("texts.jsonl")
# Characters of the long texts, which repeat the English ones; a token has about four characters.
_LONG = (1_000, 3_000, 12_000)
_MAX_LANGUAGE = 40


@dataclass(frozen=True)
class Text:
    """A text and its group: a language code of ISO 639-1, another group, or ""."""

    language: str
    text: str


@dataclass(frozen=True)
class LeftOut:
    """A text that was not compared, because it exceeds a model's context.

    Attributes:
        tokens: its length with the longest prompt.
        limit: the model's maximum.
        model: name of the model.

    """

    text: Text
    tokens: int
    limit: int
    model: str


@dataclass(frozen=True)
class TextSet:
    """The distinct texts that were encoded, and the texts that were left out.

    Attributes:
        repeated: number of duplicates among the requested texts.

    """

    texts: Sequence[Text]
    left_out: Sequence[LeftOut] = ()
    repeated: int = 0


def default_texts() -> list[Text]:
    """Return the built-in texts, which are the same everywhere, with the long texts last."""
    texts = list(_read(_FILE))
    english = [text.text for text in texts if text.language == "en"]
    return texts + [_long(english, start, length) for start, length in enumerate(_LONG)]


def read_texts(paths: Iterable[Path]) -> list[Text]:
    """Read texts from files.

    Args:
        paths: in a `.jsonl` file, each line is an object with `text` and, if known, `language`;
            in any other file, each line is a text. In UTF-8, or the encoding of a byte order mark.

    Raises:
        TextError: a file cannot be read, or a line is not a text; the message names it.

    """
    return [text for path in paths for text in _read(path)]


def digest(texts: Iterable[Text]) -> str:
    """Return the SHA-256 of texts in their order, in hexadecimal; languages are ignored."""
    sha256 = hashlib.sha256()
    for text in texts:
        data = text.text.encode("utf-8")
        sha256.update(len(data).to_bytes(8, "little") + data)
    return sha256.hexdigest()


def _long(texts: list[str], start: int, length: int) -> Text:
    """Join texts from a start index to one long text of this many characters."""
    parts: list[str] = []
    while sum(map(len, parts)) < length:
        parts.append(f"{len(parts) + 1}. {texts[(start + len(parts)) % len(texts)]} ")
    return Text("en", "".join(parts)[:length])


def _read(path: Path) -> Iterator[Text]:
    parse = _object if path.suffix.lower() == ".jsonl" else _line
    try:
        with path.open("rb") as file:
            for document in read_lines(file, str(path), named=True, encoding="utf-8"):
                if isinstance(document, Unreadable):
                    raise TextError(f"{document.id}: {document.reason}")
                yield parse(document.text, document.id)
    except OSError as error:
        raise TextError(f"cannot read {path}: {error.strerror or error}") from error


def _line(line: str, _place: str) -> Text:
    return Text("", line)


def _object(line: str, place: str) -> Text:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise TextError(f"{place}: not JSON") from None
    text = row.get("text") if isinstance(row, dict) else None
    language = row.get("language", "") if isinstance(row, dict) else None
    if not isinstance(text, str) or not isinstance(language, str):
        raise TextError(f'{place}: no object like {{"language": "en", "text": "…"}}')
    if len(language) > _MAX_LANGUAGE or not language.isprintable():
        raise TextError(f"{place}: its language is not a short name")
    try:
        f"{language}{text}".encode()
    except UnicodeEncodeError:
        raise TextError(f"{place}: has a lone surrogate") from None
    return Text(language, text)
