"""The rules of a .gitignore file, matched as git does, in linear time.

Most libraries translate the patterns to regular expressions, some of which take exponential time.
Here a pattern is a nondeterministic automaton whose active states are the bits of one integer.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_SPECIAL = b"*?[\\"
_SLASH = ord("/")
_BOM = b"\xef\xbb\xbf"

# No path is longer, so a pattern that needs more bytes matches no path.
_MAX_PATH = 1 << 15
# Bits of cached transitions: the maximum for all automatons of a file, and the minimum for each.
_CACHE_BITS = 1 << 24
_MIN_CACHE_BITS = 1 << 12
# Python's overhead for a cached transition.
_BITS_PER_STEP = 1 << 11

_ALL_BYTES = frozenset(range(256))
_NO_SLASH = _ALL_BYTES - {_SLASH}
_PRINTABLE = frozenset(range(0x21, 0x7F))
_CLASSES = {
    "alnum": frozenset((string.ascii_letters + string.digits).encode()),
    "alpha": frozenset(string.ascii_letters.encode()),
    "blank": frozenset(b" \t"),
    "cntrl": frozenset((*range(0x20), 0x7F)),
    "digit": frozenset(string.digits.encode()),
    "graph": _PRINTABLE,
    "lower": frozenset(string.ascii_lowercase.encode()),
    "print": _PRINTABLE | {0x20},
    "punct": frozenset(string.punctuation.encode()),
    "space": frozenset(b" \t\n\r"),
    "upper": frozenset(string.ascii_uppercase.encode()),
    "xdigit": frozenset(string.hexdigits.encode()),
}


class Rules:
    """The rules of one .gitignore file."""

    def __init__(self, data: bytes) -> None:
        """Parse the rules.

        Args:
            data: the file; invalid patterns have no effect, as in git.

        """
        lines = data.removeprefix(_BOM).split(b"\n")
        rules = (_parse_rule(line) for line in lines if line and not line.startswith(b"#"))
        self._rules = [rule for rule in rules if rule is not None]
        self._rules.reverse()
        automatons = [rule.rest for rule in self._rules if rule.rest]
        for automaton in automatons:
            automaton.kept_bits = max(_MIN_CACHE_BITS, _CACHE_BITS // len(automatons))

    def is_ignored(self, path: bytes, *, folder: bool) -> bool | None:
        """Return whether a path is ignored; None if no rule matches it.

        Args:
            path: relative to the folder of the .gitignore file.
            folder: whether it is a folder.

        """
        name = path[path.rfind(b"/") + 1 :]
        for rule in self._rules:
            if (folder or not rule.folder_only) and rule.matches(path, name):
                return not rule.negative
        return None


@dataclass(frozen=True)
class _Rule:
    """One pattern.

    Attributes:
        negative: whether it negates earlier rules.
        folder_only: whether it matches only folders.
        name_only: whether it is matched against the name; otherwise against the path.
        start: literal prefix.
        end: literal suffix after the start; None if `rest` decides.
        rest: the pattern after the start; None if the start is the whole pattern.

    """

    negative: bool
    folder_only: bool
    name_only: bool
    start: bytes
    end: bytes | None
    rest: _Automaton | None

    def matches(self, path: bytes, name: bytes) -> bool:
        text = name if self.name_only else path
        if self.end is not None:
            return text.endswith(self.end)
        if self.rest is None:
            return text == self.start
        return text.startswith(self.start) and self.rest.matches(text[len(self.start) :])


def _parse_rule(line: bytes) -> _Rule | None:
    pattern = _strip_spaces(line.removesuffix(b"\r").partition(b"\0")[0])
    negative = pattern.startswith(b"!")
    pattern = pattern[negative:]
    folder_only = pattern.endswith(b"/")
    if folder_only:
        pattern = pattern[:-1]
    name_only = b"/" not in pattern
    pattern = pattern.removeprefix(b"/")
    literal = next(
        (position for position, byte in enumerate(pattern) if byte in _SPECIAL), len(pattern)
    )
    start, rest = pattern[:literal], pattern[literal:]
    if not rest:
        return _Rule(negative, folder_only, name_only, start, None, None) if start else None
    if name_only and not start and rest.startswith(b"*") and not _is_special(rest[1:]):
        return _Rule(negative, folder_only, name_only, b"", rest[1:], None)
    # Git matches the literal prefix separately, so that "**" after it matches a whole name.
    steps = _parse_steps(rest)
    if steps is None or sum(step.kind == "byte" for step in steps) > _MAX_PATH:
        return None
    return _Rule(negative, folder_only, name_only, start, None, _Automaton(steps))


def _is_special(pattern: bytes) -> bool:
    return any(byte in _SPECIAL for byte in pattern)


def _strip_spaces(line: bytes) -> bytes:
    """Remove spaces at the end, except after a backslash."""
    end = position = 0
    while position < len(line):
        if line[position : position + 1] == b"\\":
            if position + 1 == len(line):
                return line
            position += 1
            end = position + 1
        elif line[position : position + 1] != b" ":
            end = position + 1
        position += 1
    return line[:end]


@dataclass(frozen=True)
class _Step:
    """A part of a pattern.

    Attributes:
        kind: "byte" matches one of `accepted`; "run" matches any number of them; "folders"
            matches nothing, or anything that ends with a slash.
        accepted: the bytes.

    """

    kind: str
    accepted: frozenset[int]


def _parse_steps(pattern: bytes) -> list[_Step] | None:
    """Parse a pattern; None if it matches nothing."""
    steps: list[_Step] = []
    position = 0
    while position < len(pattern):
        byte = pattern[position : position + 1]
        if byte == b"*":
            step, position = _parse_stars(pattern, position)
            if step.kind != "folders" or steps[-1:] != [step]:
                steps.append(step)
            continue
        if byte == b"?":
            accepted, position = _NO_SLASH, position + 1
        elif byte == b"[":
            bracket = _parse_bracket(pattern, position + 1)
            if bracket is None:
                return None
            accepted, position = bracket
        else:
            position += byte == b"\\"
            if position == len(pattern):
                return None
            accepted, position = frozenset(pattern[position : position + 1]), position + 1
        steps.append(_Step("byte", accepted))
    return steps


def _parse_stars(pattern: bytes, position: int) -> tuple[_Step, int]:
    """Parse a run of stars; return its step and the position after it."""
    after = position
    while pattern[after : after + 1] == b"*":
        after += 1
    is_name = after - position > 1 and pattern[:position][-1:] in (b"", b"/")
    if is_name and pattern[after : after + 1] == b"/":
        return _Step("folders", _ALL_BYTES), after + 1
    if is_name and pattern[after : after + 2] in (b"", b"\\/"):
        return _Step("run", _ALL_BYTES), after
    return _Step("run", _NO_SLASH), after


def _parse_bracket(pattern: bytes, position: int) -> tuple[frozenset[int], int] | None:
    """Parse a bracket expression from behind its "["; None if it matches nothing.

    Returns the accepted bytes, and the position after the closing bracket.
    """
    negated = pattern[position : position + 1] in (b"!", b"^")
    position += negated
    accepted: set[int] = set()
    before: int | None = None
    first = True
    while first or pattern[position : position + 1] != b"]":
        first = False
        if position >= len(pattern):
            return None
        end = pattern.find(b"]", position + 2)
        if pattern.startswith(b"[:", position) and end < 0:
            return None
        if (
            pattern.startswith(b"[:", position)
            and end > position + 2
            and pattern[end - 1] == ord(":")
        ):
            named = _CLASSES.get(pattern[position + 2 : end - 1].decode("latin-1"))
            if named is None:
                return None
            accepted |= named
            before, position = None, end + 1
            continue
        following = pattern[position + 1 : position + 2]
        is_range = pattern[position : position + 1] == b"-" and before is not None
        if is_range and following not in (b"", b"]"):
            last = _character(pattern, position + 1)
            if last is None or before is None:
                return None
            accepted.update(range(before, last[0] + 1))
            before, position = None, last[1]
            continue
        character = _character(pattern, position)
        if character is None:
            return None
        before, position = character
        accepted.add(before)
    chosen = _ALL_BYTES - accepted if negated else frozenset(accepted)
    return chosen - {_SLASH}, position + 1


def _character(pattern: bytes, position: int) -> tuple[int, int] | None:
    position += pattern[position : position + 1] == b"\\"
    return (pattern[position], position + 1) if position < len(pattern) else None


class _Automaton:
    """A nondeterministic automaton that matches a whole text; its active states are bits."""

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
                # It matches nothing, or is entered and then left after a slash.
                self._gates |= bit
                bit <<= 1
                self._keeps.append((bit, _ALL_BYTES))
                self._takes.append((bit, frozenset((_SLASH,))))
            bit <<= 1
        self._end = bit
        self._start = self._free(1)
        self._by_byte: dict[int, tuple[int, int]] = {}
        self._known: dict[tuple[int, int], int] = {}
        self.kept_bits = _MIN_CACHE_BITS

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
            self._by_byte[byte] = (
                _accepting_bits(self._takes, byte),
                _accepting_bits(self._keeps, byte),
            )
        takes, keeps = self._by_byte[byte]
        return self._free((states & takes) << 1 | states & keeps)

    def _free(self, states: int) -> int:
        """Add the states that are reached without reading a byte."""
        while True:
            gates = states & self._gates
            more = states | (states & self._skips) << 1 | gates << 1 | gates << 2
            if more == states:
                return states
            states = more


def _accepting_bits(steps: Sequence[tuple[int, frozenset[int]]], byte: int) -> int:
    return sum(bit for bit, accepted in steps if byte in accepted)
