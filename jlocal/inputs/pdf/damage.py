"""Detecting damage of PDF files that PDFium ignores."""

from __future__ import annotations

import re
import zlib

_STREAM = re.compile(rb"(?<!end)stream\r?\n")
_FILTERS = re.compile(rb"/Filter\s*(?:\[([^\]]*)\]|(/\w+))")
_KNOWN = set(
    b"/FlateDecode /Fl /LZWDecode /LZW /ASCIIHexDecode /AHx /ASCII85Decode /A85 /RunLengthDecode "
    b"/RL /CCITTFaxDecode /CCF /JBIG2Decode /DCTDecode /DCT /JPXDecode /Crypt".split()
)
_DEFLATE = ([b"/FlateDecode"], [b"/Fl"])
# The dictionary of a stream is rarely longer.
_DICTIONARY = 4096
_PIECE = 64 << 10
# Maximum number of unpacked bytes; larger files are not checked to their end.
_UNPACKED = 512 << 20


def is_cut(data: bytes) -> bool:
    """Return whether a file ends before the position of its cross-reference table."""
    return data.rfind(b"startxref") < data.rfind(b"endobj")


def is_corrupt(data: bytes) -> bool:
    """Return whether a stream other than a picture cannot be unpacked or fails its checksum."""
    if b"/Encrypt" in data:
        return False
    left, end = _UNPACKED, 0
    for match in _STREAM.finditer(data):
        begin = match.start()
        if begin < end:
            continue  # by chance inside a stream
        dictionary = data[max(begin - _DICTIONARY, end) : begin].rpartition(b" obj")[2]
        filters = _filters(dictionary)
        if not _KNOWN.issuperset(filters):
            return True
        if filters[:1] not in _DEFLATE or b"/Image" in dictionary:
            continue
        try:
            end, size = _unpacked(data, match.end(), left)
        except zlib.error:
            return True
        left -= size
        if left <= 0:
            break
    return False


def _filters(dictionary: bytes) -> list[bytes]:
    match = _FILTERS.search(dictionary)
    return (match[1] or match[2] or b"").replace(b"/", b" /").split() if match else []


def _unpacked(data: bytes, begin: int, left: int) -> tuple[int, int]:
    """Unpack a stream; return the position of its end, and its unpacked size.

    Some programs leave the checksum out, or the end of the last block.
    """
    unpacker, size = zlib.decompressobj(), 0
    for place in range(begin, len(data), _PIECE):
        piece = data[place : place + _PIECE]
        while piece and not unpacker.eof:
            size += len(unpacker.decompress(piece, _PIECE))
            piece = unpacker.unconsumed_tail
            if size > left:
                return place, size
        if unpacker.eof:
            return min(place + _PIECE, len(data)) - len(unpacker.unused_data), size
    return len(data), size
