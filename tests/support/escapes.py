"""Text with terminal control characters, and a check that none of them was shown."""

from __future__ import annotations

import os
import unicodedata

# A window title, colours by C0 and C1, a line break, a change of direction, isolates, and DEL.
BAD = "a\x1b]0;owned\x07\x1b[31m\r\nFORGED\u009b32m\u202eb\u2066c\u2028d\x7f\u0085e"
# A file name with these characters: without a slash, and with bytes that are not UTF-8.
NAME = os.fsdecode(BAD.encode() + b"\xff\xc2")


def leaks(output: bytes) -> list[str]:
    """List control characters, and lines that a hostile name has begun."""
    found = [ascii(line) for line in output.splitlines() if line.startswith(b"FORGED")]
    for letter in output.decode("utf-8", "surrogateescape").replace("\n", ""):
        kind = unicodedata.category(letter)
        if kind in ("Cc", "Cf", "Zl", "Zp", "Cs") and letter not in "\u200c\u200d":
            found.append(ascii(letter))
    return found
