"""The child that reads office documents and e-books: bytes of a file in, its text out.

anydoc parses. What it finds is written here without Markdown's escapes, emphasis and link targets,
which are noise to a reader of excerpts and to a full-text index.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import anydoc

from jlocal.errors import TextError
from jlocal.inputs.serve import serve

_LARGEST_TEXT = 64 << 20
# What stands between paragraphs, lists and tables.
_BETWEEN = "\n\n"
# Lists in lists are indented no further than this; a short file of them would be a text without
# end.
_DEEPEST = 10
_INDENT = "  "
# For what is PAGE_BREAK elsewhere, and what no text contains.
_CLEAN = str.maketrans({"\0": "\ufffd", "\f": "\n", "\v": "\n", "\r": "\n", "\u2028": "\n"})

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_NOT_THIS = "damaged, or not what its name says"


def read(data: bytes) -> dict[str, object]:
    """Read a document.

    Returns:
        `text`, and `headings`: (start, end, level) of each in it.

    Kept are tables (a line for each row), footnotes (after the paragraph), speaker notes and
    insertions. Left out are page headers and footers, comments, deletions and pictures.

    Raises:
        TextError: there is no text in it, it is damaged, encrypted, too large, or something else.

    """
    kind = anydoc.format_from_bytes(data)
    if kind == "pdf":
        raise TextError("a PDF file; rename it to .pdf")
    if kind is None and data.startswith(_OLE):
        # Encrypted documents of newer kinds are stored as the older ones are.
        kind = "docx"
    if kind is None:
        raise TextError(_NOT_THIS)
    try:
        document = anydoc.to_document(data, kind)
    except anydoc.EncryptedError:
        raise TextError("encrypted; save it without a password first") from None
    except anydoc.ResourceLimitError:
        raise TextError("too large once it is unpacked; split it") from None
    except anydoc.UnsupportedError:
        raise TextError("in an old format that is not read; save it in a newer one") from None
    except anydoc.ConvertError:
        raise TextError(_NOT_THIS) from None
    writer = _Writer(document.notes)
    text = writer.text(document.blocks)
    if not text:
        raise TextError("no text in it; it may hold only pictures")
    return {"text": text, "headings": writer.headings}


class _Writer:
    """Writes blocks as text, each note where it is first referred to.

    Attributes:
        headings: (start, end, level) of those that were written.

    """

    def __init__(self, notes: Iterable[anydoc.Note]) -> None:
        self.headings: list[tuple[int, int, int]] = []
        self._notes = {note.id: note.blocks for note in notes}
        self._due: list[str] = []

    def text(self, blocks: Iterable[anydoc.Block]) -> str:
        pieces: list[str] = []
        length = 0
        for block in self._with_notes(blocks):
            piece = self._one(block, 0).strip("\n")
            if piece and block.kind == "heading":
                self.headings.append((length, length + len(piece), block.level or 1))
            if piece:
                pieces.append(piece)
                length += len(piece) + len(_BETWEEN)
            if length > _LARGEST_TEXT:
                raise TextError(
                    f"more than {_LARGEST_TEXT >> 20} million characters of text; split it"
                )
        return _BETWEEN.join(pieces)

    def _with_notes(self, blocks: Iterable[anydoc.Block]) -> Iterator[anydoc.Block]:
        for block in blocks:
            yield block
            while self._due:
                # Notes may have notes.
                yield from self._notes.pop(self._due.pop(0), ())

    def _all(self, blocks: Iterable[anydoc.Block], depth: int) -> Iterator[str]:
        return filter(None, (self._one(block, depth).strip("\n") for block in blocks))

    def _one(self, block: anydoc.Block, depth: int) -> str:
        if block.kind == "heading":
            return " ".join(self._line(block.content).split())
        if block.list:
            return self._list(block.list, depth)
        if block.table:
            return self._table(block.table, depth)
        if block.blocks is not None:
            return _BETWEEN.join(self._all(block.blocks, depth + 1))
        return self._line(block.content).strip() or _clean(block.text)

    def _list(self, found: anydoc.List, depth: int) -> str:
        lines = []
        for number, item in enumerate(found.items, start=found.start):
            mark = item.marker_label or ("-" if found.marker == "bullet" else f"{number}.")
            text = "\n".join(self._all(item.blocks, depth + 1))
            first, *others = text.split("\n")
            indent = _INDENT if depth < _DEEPEST else ""
            lines += [f"{mark} {first}", *(f"{indent}{line}" for line in others)]
        return "\n".join(lines)

    def _table(self, table: anydoc.Table, depth: int) -> str:
        rows = []
        for row in table.grid:
            cells = [
                list(self._all(slot.cell.blocks, depth + 1)) if slot.cell else [] for slot in row
            ]
            if table.kind == "layout":
                rows += [_BETWEEN.join(cell) for cell in cells if cell]
            elif any(cells):
                words = (" ".join(" ".join(cell).split()) for cell in cells)
                rows.append(" | ".join(words).rstrip(" |"))
        return (_BETWEEN if table.kind == "layout" else "\n").join(rows)

    def _line(self, inlines: Iterable[anydoc.Inline] | None) -> str:
        return "".join(map(self._inline, inlines or ()))

    def _inline(self, inline: anydoc.Inline) -> str:
        if inline.kind == "note_ref" and inline.note_id in self._notes:
            self._due.append(inline.note_id)
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
