"""The child process that reads the text of office documents and e-books.

anydoc parses the file. The text is written without Markdown's escapes, emphasis and link targets,
which are noise in excerpts and in a full-text index.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import anydoc

from jlocal.errors import TextError
from jlocal.inputs.serve import serve

_MAX_TEXT = 64 << 20
# The separator of paragraphs, lists and tables.
_SEPARATOR = "\n\n"
# Deeper nested lists are not indented further: a short file could become a huge text.
_MAX_DEPTH = 10
_INDENT = "  "
# Replaces PAGE_BREAK and characters that text does not contain.
_CLEAN = str.maketrans({"\0": "\ufffd", "\f": "\n", "\v": "\n", "\r": "\n", "\u2028": "\n"})

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_NOT_A_DOCUMENT = "damaged, or not what its name says"


def read(data: bytes) -> dict[str, object]:
    """Read a document.

    Returns:
        `text`, and `headings`: (start, end, level) of each heading.

    Tables (a line for each row), footnotes (after their paragraph), speaker notes and insertions
    are kept. Page headers and footers, comments, deletions and pictures are left out.

    Raises:
        TextError: the file has no text, is damaged, encrypted or too large, or has another format.

    """
    kind = anydoc.format_from_bytes(data)
    if kind == "pdf":
        raise TextError("a PDF file; rename it to .pdf")
    if kind is None and data.startswith(_OLE):
        # Encrypted documents of newer formats are stored in the container of the older ones.
        kind = "docx"
    if kind is None:
        raise TextError(_NOT_A_DOCUMENT)
    try:
        document = anydoc.to_document(data, kind)
    except anydoc.EncryptedError:
        raise TextError("encrypted; save it without a password first") from None
    except anydoc.ResourceLimitError:
        raise TextError("too large once it is unpacked; split it") from None
    except anydoc.UnsupportedError:
        raise TextError("in an old format that is not read; save it in a newer one") from None
    except anydoc.ConvertError:
        raise TextError(_NOT_A_DOCUMENT) from None
    writer = _Writer(document.notes)
    text = writer.text(document.blocks)
    if not text:
        raise TextError("no text in it; it may hold only pictures")
    return {"text": text, "headings": writer.headings}


class _Writer:
    """Writes blocks as text, with each note after its first reference.

    Attributes:
        headings: (start, end, level) of the headings that were written.

    """

    def __init__(self, notes: Iterable[anydoc.Note]) -> None:
        self.headings: list[tuple[int, int, int]] = []
        self._notes = {note.id: note.blocks for note in notes}
        self._pending_notes: list[str] = []

    def text(self, blocks: Iterable[anydoc.Block]) -> str:
        pieces: list[str] = []
        length = 0
        for block in self._with_notes(blocks):
            piece = self._block(block, 0).strip("\n")
            if piece and block.kind == "heading":
                self.headings.append((length, length + len(piece), block.level or 1))
            if piece:
                pieces.append(piece)
                length += len(piece) + len(_SEPARATOR)
            if length > _MAX_TEXT:
                raise TextError(f"more than {_MAX_TEXT >> 20} million characters of text; split it")
        return _SEPARATOR.join(pieces)

    def _with_notes(self, blocks: Iterable[anydoc.Block]) -> Iterator[anydoc.Block]:
        for block in blocks:
            yield block
            while self._pending_notes:
                # Notes may have notes.
                yield from self._notes.pop(self._pending_notes.pop(0), ())

    def _texts(self, blocks: Iterable[anydoc.Block], depth: int) -> Iterator[str]:
        return filter(None, (self._block(block, depth).strip("\n") for block in blocks))

    def _block(self, block: anydoc.Block, depth: int) -> str:
        if block.kind == "heading":
            return " ".join(self._line(block.content).split())
        if block.list:
            return self._list(block.list, depth)
        if block.table:
            return self._table(block.table, depth)
        if block.blocks is not None:
            return _SEPARATOR.join(self._texts(block.blocks, depth + 1))
        return self._line(block.content).strip() or _clean(block.text)

    def _list(self, items: anydoc.List, depth: int) -> str:
        lines = []
        for number, item in enumerate(items.items, start=items.start):
            mark = item.marker_label or ("-" if items.marker == "bullet" else f"{number}.")
            text = "\n".join(self._texts(item.blocks, depth + 1))
            first, *more = text.split("\n")
            indent = _INDENT if depth < _MAX_DEPTH else ""
            lines += [f"{mark} {first}", *(f"{indent}{line}" for line in more)]
        return "\n".join(lines)

    def _table(self, table: anydoc.Table, depth: int) -> str:
        rows = []
        for row in table.grid:
            cells = [
                list(self._texts(slot.cell.blocks, depth + 1)) if slot.cell else [] for slot in row
            ]
            if table.kind == "layout":
                rows += [_SEPARATOR.join(cell) for cell in cells if cell]
            elif any(cells):
                words = (" ".join(" ".join(cell).split()) for cell in cells)
                rows.append(" | ".join(words).rstrip(" |"))
        return (_SEPARATOR if table.kind == "layout" else "\n").join(rows)

    def _line(self, inlines: Iterable[anydoc.Inline] | None) -> str:
        return "".join(map(self._inline, inlines or ()))

    def _inline(self, inline: anydoc.Inline) -> str:
        if inline.kind == "note_ref" and inline.note_id in self._notes:
            self._pending_notes.append(inline.note_id)
        if inline.kind == "line_break":
            return "\n"
        if inline.kind == "checkbox":
            return "[x]" if inline.checked else "[ ]"
        if inline.content is not None:
            return self._line(inline.content)
        return _clean(inline.text or inline.alt)


def _clean(text: str | None) -> str:
    return (text or "").translate(_CLEAN)


if __name__ == "__main__":
    serve(read)
