"""Files that are not text, as in many folders of notes."""

from __future__ import annotations

NUL = b"\0" * 64
# Other files in a folder of notes, by name.
NOT_TEXT = {
    "photo.jpg": b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(range(256)) * 40,
    "song.mp3": b"ID3\x04\0\0\0\0\0\0" + bytes(range(1, 256)) * 300,
    "notes.sqlite": b"SQLite format 3\0" + NUL,
    "program": b"\x7fELF\x02\x01\x01\0" + NUL,
    "font.ttf": b"\0\x01\0\0\0\x0f" + NUL,
    "backup.tar.gz": b"\x1f\x8b\x08\0" + bytes(range(255, 0, -1)) * 20,
    "film.mov": b"\0\0\0\x14ftypqt  " + NUL * 4096,
}
