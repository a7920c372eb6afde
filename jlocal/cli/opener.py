"""Open the file of a hit: at its line in an editor, or with the desktop's default program."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jlocal.inputs import formats
from jlocal.printable import printable

if TYPE_CHECKING:
    from jlocal.collection.search.hits import Hit

VARIABLE = "JLOCAL_OPENER"

# The arguments of editors for a line; most other editors take +LINE.
_EDITORS = {
    **dict.fromkeys(("code", "code-insiders", "codium", "cursor"), ("--goto", "{path}:{line}")),
    **dict.fromkeys(("subl", "zed", "hx", "helix"), ("{path}:{line}",)),
    **dict.fromkeys(("kate", "kwrite", "mate"), ("--line", "{line}", "{path}")),
    **dict.fromkeys(("notepad", "open", "xdg-open", "cat"), ("{path}",)),
    "notepad++": ("-n{line}", "{path}"),
}
_PLUS = ("+{line}", "{path}")
# The arguments of PDF viewers for a page, by a part of the names of their desktop files.
_VIEWERS = {
    "evince": ("evince", "--page-label={page}"),
    "papers": ("papers", "--page-label={page}"),
    "atril": ("atril", "--page-label={page}"),
    "xreader": ("xreader", "--page-label={page}"),
    "okular": ("okular", "--page={page}"),
    "zathura": ("zathura", "--page={page}"),
}


def open_hit(hit: Hit) -> None:
    """Open the file of a hit, and wait for an editor to end.

    Raises:
        click.ClickException: the hit has no file, or nothing opens it.

    """
    path = hit.path
    if hit.id is not None:
        raise click.ClickException(f"{printable(hit.id)} is a text without a file")
    if not Path(path).exists():
        raise click.ClickException(f"{printable(path)} is no longer there")
    command = opening(path, hit.first_line, hit.page, os.environ)
    if command is None and sys.platform == "win32":
        os.startfile(path)  # noqa: S606
        return
    if command is None:
        raise click.ClickException(
            f"no program was found that opens {printable(path)}; name one in {VARIABLE}"
        )
    _run(command)


def opening(
    path: str, line: int | None, page: int | None, environment: Mapping[str, str]
) -> list[str] | None:
    """Choose the command that opens a file, word by word; None where there is none.

    Args:
        path: absolute.
        line: where the passage begins; None in files that have no lines.
        page: of a PDF file.
        environment: JLOCAL_OPENER names a program, which may take {path}, {line} and {page};
            text opens in VISUAL or EDITOR; everything else with the desktop's own program.

    """
    values = {"path": path, "line": str(line or 1), "page": str(page or 1)}
    if chosen := _words(environment.get(VARIABLE)):
        if not any("{path}" in word for word in chosen):
            chosen.append("{path}")
        return _filled(chosen, values)
    is_text = not formats.reader_of(path)
    editor = _words(environment.get("VISUAL")) or _words(environment.get("EDITOR"))
    if editor and is_text:
        name = Path(editor[0]).name.lower().removesuffix(".exe")
        return editor + _filled(_EDITORS.get(name, _PLUS), values)
    if sys.platform in ("win32", "darwin"):
        return ["open", path] if sys.platform == "darwin" else None
    if environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"):
        if page and (viewer := _viewer()):
            return [*_filled(viewer, values), path]
        if program := shutil.which("xdg-open") or shutil.which("wslview"):
            return [program, path]
    pager = _words(environment.get("PAGER")) or [shutil.which("less") or shutil.which("more") or ""]
    return pager + _filled(_PLUS, values) if is_text and pager[0] else None


def _words(command: str | None) -> list[str]:
    try:
        return shlex.split(command or "", posix=os.name != "nt")
    except ValueError:  # a quotation mark without its other half
        return (command or "").split()


def _filled(words: Sequence[str], values: Mapping[str, str]) -> list[str]:
    filled = []
    for word in words:
        # The path is inserted last, so that braces in it are not replaced.
        for name in ("line", "page", "path"):
            word = word.replace(f"{{{name}}}", values[name])
        filled.append(word)
    return filled


def _viewer() -> tuple[str, ...] | None:
    """Find the desktop's PDF viewer, if it can open a given page."""
    program = shutil.which("xdg-mime")
    if program is None:
        return None
    command = [program, "query", "default", "application/pdf"]
    try:
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, check=False, text=True, timeout=5
        )
    except (OSError, subprocess.SubprocessError):
        return None
    name = done.stdout.strip().lower()
    known = (words for part, words in _VIEWERS.items() if part in name and shutil.which(words[0]))
    return next(known, None)


def _run(command: list[str]) -> None:
    sys.stdout.flush()
    try:
        with _interrupts_left_to_the_program():
            status = subprocess.run(command, check=False).returncode  # noqa: S603
    except OSError as error:
        reason = error.strerror or error
        raise click.ClickException(f"cannot run {printable(command[0])}: {reason}") from error
    if status:
        raise click.ClickException(f"{printable(command[0])} ended with exit status {status}")


@contextmanager
def _interrupts_left_to_the_program() -> Iterator[None]:
    """Leave Ctrl-C to an editor, which has a use for it."""
    # A handler of ours, unlike SIG_IGN, is not passed on.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
