"""Text that a terminal would obey, and how to tell that none of it was shown."""

from __future__ import annotations

import os
import unicodedata

# A title, colours by C0 and C1, a line of its own, an order of letters, isolates, and DEL.
BAD = "a\x1b]0;owned\x07\x1b[31m\r\nFORGED\u009b32m\u202eb\u2066c\u2028d\x7f\u0085e"
# As a file may be called: without a slash, and with bytes that are no UTF-8.
NAME = os.fsdecode(BAD.encode() + b"\xff\xc2")


def leaks(output: bytes) -> list[str]:
    """List what a terminal would obey, and lines that begin as a name says."""
    found = [ascii(line) for line in output.splitlines() if line.startswith(b"FORGED")]
    for letter in output.decode("utf-8", "surrogateescape").replace("\n", ""):
        kind = unicodedata.category(letter)
        if kind in ("Cc", "Cf", "Zl", "Zp", "Cs") and letter not in "\u200c\u200d":
            found.append(ascii(letter))
    return found
