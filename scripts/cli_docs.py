"""Write docs/cli.md from the help texts of the commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from jlocal.cli import cli

TARGET = Path(__file__).resolve().parent.parent / "docs" / "cli.md"


def _contexts(group: click.Group, parent: click.Context) -> Iterator[click.Context]:
    """Yield the commands of a group, and their subcommands."""
    for name in group.list_commands(parent):
        command = group.get_command(parent, name)
        assert command is not None
        context = click.Context(
            command, info_name=name, parent=parent, max_content_width=98, terminal_width=98
        )
        yield context
        if isinstance(command, click.Group):
            yield from _contexts(command, context)


def render() -> str:
    """Return the current text of the page."""
    parts = [
        "# The command line\n\nMade from `--help` by `scripts/cli_docs.py`. Data goes to standard "
        "output and everything else to\nstandard error. Exit status: 0 done, 1 failed in whole or "
        "in part, 2 wrong usage, 130 interrupted,\n143 ended by SIGTERM, 129 by SIGHUP.\n"
    ]
    root = click.Context(cli, info_name="jlocal", **cli.context_settings)
    for context in _contexts(cli, root):
        parts.append(f"## {context.command_path}\n\n```text\n{context.get_help()}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
