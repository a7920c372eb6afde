"""The child process that reads the text of Jupyter notebooks.

The format: https://nbformat.readthedocs.io/en/latest/format_description.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from jlocal.errors import TextError
from jlocal.inputs.serve import serve

# As much of a cell's output shows its result; the rest is mostly tables and logs.
_MAX_OUTPUT = 2_000
_LONGEST_LINES = 1 << 16
_PICTURE = re.compile(r"data:[\w.+-]{1,80}/[\w.+-]{1,80};base64,[A-Za-z0-9+/=]{40,}")
_COLOR = re.compile(r"\x1b\[[0-9;?]{0,40}[A-Za-z]")
_FENCE = re.compile(r"[ ]{0,3}(`{3,}|~{3,})([^`]*)")
_LANGUAGE = re.compile(r"[A-Za-z][\w+#-]{0,20}")
# Python's names of objects that only a browser shows.
_NAMELESS = ("<IPython.core.display.", "<Figure size ")


def read(data: bytes) -> dict[str, object]:
    """Read a notebook, as Markdown.

    Returns:
        `text`: the cells in their order, those of code as fenced blocks, each followed by the
        beginning of its text output; `headings`: none, as those of Markdown are found in the text.
        A notebook without text, and an empty file, have the text "".

    Raises:
        TextError: the file is not a notebook.

    """
    if not data.strip():
        return {"text": "", "headings": []}
    try:
        notebook = json.loads(data)
    except UnicodeDecodeError:
        raise TextError("not a notebook, or damaged: it is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        reason = error.msg[:1].lower() + error.msg[1:].removesuffix(" starting at")
        raise TextError(f"not a notebook, or damaged: line {error.lineno}: {reason}") from None
    except ValueError:
        raise TextError("damaged: it has a number of too many digits") from None
    except RecursionError:
        raise TextError("damaged: it is nested too deeply") from None
    cells = _cells(notebook)
    if cells is None:
        raise TextError("not a notebook: it has no cells")
    language = _language(notebook)
    parts = (part for cell in cells if isinstance(cell, dict) for part in _parts(cell, language))
    return {"text": "\n\n".join(parts).replace("\0", "\ufffd"), "headings": []}


def _cells(notebook: object) -> list[object] | None:
    if not isinstance(notebook, dict):
        return None
    if isinstance(cells := notebook.get("cells"), list):
        return cells
    # Before version 4, cells lay in worksheets.
    sheets = notebook.get("worksheets")
    if not isinstance(sheets, list):
        return None
    lists = (sheet.get("cells") for sheet in sheets if isinstance(sheet, dict))
    return [cell for cells in lists if isinstance(cells, list) for cell in cells]


def _language(notebook: Mapping[str, object]) -> str:
    metadata = notebook.get("metadata")
    places = ("language_info", "name"), ("kernelspec", "language")
    for place, key in places:
        entry = metadata.get(place) if isinstance(metadata, dict) else None
        name = entry.get(key) if isinstance(entry, dict) else None
        if isinstance(name, str) and _LANGUAGE.fullmatch(name):
            return name
    return ""


def _parts(cell: Mapping[str, object], language: str) -> Iterator[str]:
    """Yield the source and the output of a cell, without the empty ones."""
    kind = cell.get("cell_type")
    source = _text(cell.get("source", cell.get("input"))).strip("\r\n")
    source = _PICTURE.sub("data:…", source)
    if kind == "code":
        if source.strip():
            yield _fenced(source, language)
        outputs = cell.get("outputs")
        if output := _output(outputs if isinstance(outputs, list) else []):
            yield _fenced(output, "")
    elif source.strip():
        if kind == "heading":
            level = cell.get("level")
            marks = "#" * level if isinstance(level, int) and 1 <= level <= 6 else "#"
            source = f"{marks} {' '.join(source.split())}"
        yield _closed(source)


def _text(value: object) -> str:
    """Join a text, which may be a list of lines."""
    if isinstance(value, list):
        value = "".join(line for line in value if isinstance(line, str))
    return value if isinstance(value, str) else ""


def _fenced(text: str, language: str) -> str:
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _closed(markdown: str) -> str:
    """Close a block of code that a cell leaves open, as it does not extend to the next cell."""
    fence = ""
    for line in markdown.splitlines():
        match = _FENCE.fullmatch(line)
        if match and not fence:
            fence = match[1]
        elif match and match[1].startswith(fence) and not match[2].strip():
            fence = ""
    return f"{markdown}\n{fence}" if fence else markdown


def _output(outputs: Sequence[object]) -> str:
    """Return the beginning of the text output of a cell."""
    text = ""
    for output in outputs:
        if len(text) > _MAX_OUTPUT:
            break
        said = _said(output) if isinstance(output, dict) else ""
        said = _COLOR.sub("", _PICTURE.sub("data:…", said[:_LONGEST_LINES]))
        if said.strip() and not said.startswith(_NAMELESS):
            # A progress bar writes its line again and again.
            lines = (line.rstrip("\r").rpartition("\r")[2] for line in said.split("\n"))
            text += "\n".join(lines).rstrip() + "\n"
    text = text.strip("\n")
    return text if len(text) <= _MAX_OUTPUT else f"{text[:_MAX_OUTPUT].rstrip()} …"


def _said(output: Mapping[str, object]) -> str:
    if output.get("name", output.get("stream")) == "stderr":
        return ""
    if output.get("output_type") == "error" or output.get("output_type") == "pyerr":
        name, value = output.get("ename"), output.get("evalue")
        return f"{name}: {value}" if isinstance(name, str) and isinstance(value, str) else ""
    data = output.get("data", output)
    if not isinstance(data, dict):
        return ""
    is_shown = any(kind.startswith(("image/", "application/vnd.")) for kind in data)
    if is_shown or not data.keys().isdisjoint(("png", "jpeg", "svg")):
        return ""
    return _text(data.get("text/markdown") or data.get("text/plain") or data.get("text"))


if __name__ == "__main__":
    serve(read)
