"""The rules of a .gitignore file, matched as git does, in time that no pattern can stretch.

Regular expressions, which most libraries translate the patterns to, take exponential time for some
of them. Here a pattern is an automaton whose possible states are the bits of one integer.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_SPECIAL = b"*?[\\"
_SLASH = ord("/")
_BOM = b"\xef\xbb\xbf"

# No path is longer, so a pattern that needs more bytes fits none.
_LONGEST_PATH = 1 << 15
# How many bits of known steps the automatons of a file keep together, and an automaton at least.
_KEPT_BITS = 1 << 24
_LEAST_KEPT_BITS = 1 << 12
# What Python adds to a step that it keeps.
_BITS_PER_STEP = 1 << 11

_EVERY = frozenset(range(256))
_NO_SLASH = _EVERY - {_SLASH}
_PRINTED = frozenset(range(0x21, 0x7F))
_CLASSES = {
    "alnum": frozenset((string.ascii_letters + string.digits).encode()),
    "alpha": frozenset(string.ascii_letters.encode()),
    "blank": frozenset(b" \t"),
    "cntrl": frozenset((*range(0x20), 0x7F)),
    "digit": frozenset(string.digits.encode()),
    "graph": _PRINTED,
    "lower": frozenset(string.ascii_lowercase.encode()),
    "print": _PRINTED | {0x20},
    "punct": frozenset(string.punctuation.encode()),
    "space": frozenset(b" \t\n\r"),
    "upper": frozenset(string.ascii_uppercase.encode()),
    "xdigit": frozenset(string.hexdigits.encode()),
}


class Rules:
    """What one .gitignore file says."""

    def __init__(self, data: bytes) -> None:
        """Read the rules.

        Args:
            data: the file; lines that are no pattern have no effect, as in git.

        """
        lines = data.removeprefix(_BOM).split(b"\n")
        rules = (_rule(line) for line in lines if line and not line.startswith(b"#"))
        self._rules = [rule for rule in rules if rule is not None]
        self._rules.reverse()
        automatons = [rule.rest for rule in self._rules if rule.rest]
        for automaton in automatons:
            automaton.kept_bits = max(_LEAST_KEPT_BITS, _KEPT_BITS // len(automatons))

    def verdict(self, path: bytes, *, folder: bool) -> bool | None:
        """Whether a path is ignored; None where no rule fits it.

        Args:
            path: relative to the folder of the .gitignore file.
            folder: whether it is a folder.

        """
        name = path[path.rfind(b"/") + 1 :]
        for rule in self._rules:
            if (folder or not rule.folder_only) and rule.fits(path, name):
                return not rule.negative
        return None


@dataclass(frozen=True)
class _Rule:
    """One pattern.

    Attributes:
        negative: whether it takes back what earlier rules say.
        folder_only: whether it is for folders only.
        name_only: whether it is matched against the name; otherwise against the path.
        start: what the path begins with, literally.
        end: what it ends with after the start, literally; None where `rest` says.
        rest: what follows the start; None if nothing does.

    """

    negative: bool
    folder_only: bool
    name_only: bool
    start: bytes
    end: bytes | None
    rest: _Automaton | None

    def fits(self, path: bytes, name: bytes) -> bool:
        text = name if self.name_only else path
        if self.end is not None:
            return text.endswith(self.end)
        if self.rest is None:
            return text == self.start
        return text.startswith(self.start) and self.rest.matches(text[len(self.start) :])


def _rule(line: bytes) -> _Rule | None:
    pattern = _trimmed(line.removesuffix(b"\r").partition(b"\0")[0])
    negative = pattern.startswith(b"!")
    pattern = pattern[negative:]
    folder_only = pattern.endswith(b"/")
    if folder_only:
        pattern = pattern[:-1]
    name_only = b"/" not in pattern
    pattern = pattern.removeprefix(b"/")
    literal = next((at for at, byte in enumerate(pattern) if byte in _SPECIAL), len(pattern))
    start, rest = pattern[:literal], pattern[literal:]
    if not rest:
        return _Rule(negative, folder_only, name_only, start, None, None) if start else None
    if name_only and not start and rest.startswith(b"*") and not _is_special(rest[1:]):
        return _Rule(negative, folder_only, name_only, b"", rest[1:], None)
    # Git matches the literal start apart, so that "**" after it counts as a whole name.
    steps = _steps(rest)
    if steps is None or sum(step.kind == "byte" for step in steps) > _LONGEST_PATH:
        return None
    return _Rule(negative, folder_only, name_only, start, None, _Automaton(steps))


def _is_special(pattern: bytes) -> bool:
    return any(byte in _SPECIAL for byte in pattern)


def _trimmed(line: bytes) -> bytes:
    """Remove spaces at the end, unless a backslash is before them."""
    end = at = 0
    while at < len(line):
        if line[at : at + 1] == b"\\":
            if at + 1 == len(line):
                return line
            at += 1
            end = at + 1
        elif line[at : at + 1] != b" ":
            end = at + 1
        at += 1
    return line[:end]


@dataclass(frozen=True)
class _Step:
    """A part of a pattern.

    Attributes:
        kind: "byte" takes one of `accepted`; "run" takes any number of them; "folders" takes
            nothing, or whatever ends with a slash.
        accepted: the bytes.

    """

    kind: str
    accepted: frozenset[int]


def _steps(pattern: bytes) -> list[_Step] | None:
    """Read a pattern; None if it fits nothing."""
    steps: list[_Step] = []
    at = 0
    while at < len(pattern):
        byte = pattern[at : at + 1]
        if byte == b"*":
            step, at = _stars(pattern, at)
            if step.kind != "folders" or steps[-1:] != [step]:
                steps.append(step)
            continue
        if byte == b"?":
            accepted, at = _NO_SLASH, at + 1
        elif byte == b"[":
            found = _bracket(pattern, at + 1)
            if found is None:
                return None
            accepted, at = found
        else:
            at += byte == b"\\"
            if at == len(pattern):
                return None
            accepted, at = frozenset(pattern[at : at + 1]), at + 1
        steps.append(_Step("byte", accepted))
    return steps


def _stars(pattern: bytes, at: int) -> tuple[_Step, int]:
    """Read what begins with a star: a step, and the position behind it."""
    after = at
    while pattern[after : after + 1] == b"*":
        after += 1
    is_name = after - at > 1 and pattern[:at][-1:] in (b"", b"/")
    if is_name and pattern[after : after + 1] == b"/":
        return _Step("folders", _EVERY), after + 1
    if is_name and pattern[after : after + 2] in (b"", b"\\/"):
        return _Step("run", _EVERY), after
    return _Step("run", _NO_SLASH), after


def _bracket(pattern: bytes, at: int) -> tuple[frozenset[int], int] | None:
    """Read what is in brackets, from behind the first; None if it fits nothing.

    Returns the bytes, and the position behind the closing bracket.
    """
    negated = pattern[at : at + 1] in (b"!", b"^")
    at += negated
    accepted: set[int] = set()
    before: int | None = None
    first = True
    while first or pattern[at : at + 1] != b"]":
        first = False
        if at >= len(pattern):
            return None
        end = pattern.find(b"]", at + 2)
        if pattern.startswith(b"[:", at) and end < 0:
            return None
        if pattern.startswith(b"[:", at) and end > at + 2 and pattern[end - 1] == ord(":"):
            named = _CLASSES.get(pattern[at + 2 : end - 1].decode("latin-1"))
            if named is None:
                return None
            accepted |= named
            before, at = None, end + 1
            continue
        following = pattern[at + 1 : at + 2]
        is_range = pattern[at : at + 1] == b"-" and before is not None
        if is_range and following not in (b"", b"]"):
            last = _one(pattern, at + 1)
            if last is None or before is None:
                return None
            accepted.update(range(before, last[0] + 1))
            before, at = None, last[1]
            continue
        one = _one(pattern, at)
        if one is None:
            return None
        before, at = one
        accepted.add(before)
    chosen = _EVERY - accepted if negated else frozenset(accepted)
    return chosen - {_SLASH}, at + 1


def _one(pattern: bytes, at: int) -> tuple[int, int] | None:
    at += pattern[at : at + 1] == b"\\"
    return (pattern[at], at + 1) if at < len(pattern) else None


class _Automaton:
    """Steps that are matched with all of a text; the states that are possible are bits."""

    def __init__(self, steps: Iterable[_Step]) -> None:
        self._takes: list[tuple[int, frozenset[int]]] = []
        self._keeps: list[tuple[int, frozenset[int]]] = []
        self._skips = self._gates = 0
        bit = 1
        for step in steps:
            if step.kind == "byte":
                self._takes.append((bit, step.accepted))
            elif step.kind == "run":
                self._keeps.append((bit, step.accepted))
                self._skips |= bit
            else:
                # Left at once, or entered; what was entered is left behind a slash.
                self._gates |= bit
                bit <<= 1
                self._keeps.append((bit, _EVERY))
                self._takes.append((bit, frozenset((_SLASH,))))
            bit <<= 1
        self._end = bit
        self._start = self._free(1)
        self._by_byte: dict[int, tuple[int, int]] = {}
        self._known: dict[tuple[int, int], int] = {}
        self.kept_bits = _LEAST_KEPT_BITS

    def matches(self, text: bytes) -> bool:
        states = self._start
        for byte in text:
            key = (states, byte)
            after = self._known.get(key)
            if after is None:
                bits = self._end.bit_length() + _BITS_PER_STEP
                if len(self._known) * bits > self.kept_bits:
                    self._known.clear()
                after = self._known[key] = self._next(states, byte)
            if not after:
                return False
            states = after
        return bool(states & self._end)

    def _next(self, states: int, byte: int) -> int:
        if byte not in self._by_byte:
            self._by_byte[byte] = (_bits(self._takes, byte), _bits(self._keeps, byte))
        takes, keeps = self._by_byte[byte]
        return self._free((states & takes) << 1 | states & keeps)

    def _free(self, states: int) -> int:
        """Add the states that are reached without a byte."""
        while True:
            gates = states & self._gates
            more = states | (states & self._skips) << 1 | gates << 1 | gates << 2
            if more == states:
                return states
            states = more


def _bits(steps: Sequence[tuple[int, frozenset[int]]], byte: int) -> int:
    return sum(bit for bit, accepted in steps if byte in accepted)
