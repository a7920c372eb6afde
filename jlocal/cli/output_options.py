"""Options for the output of a command, and for existing files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

_F = TypeVar("_F", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
verbose_option = click.option("-v", "--verbose", is_flag=True, help="Name every skipped file.")
force_option = click.option("--force", is_flag=True, help="Replace files that exist.")


def quiet_option(*hidden: str) -> Callable[[_F], _F]:
    """Make `--quiet`, which hides these of "progress", "notes" and "summary"."""
    *others, last = (f"no {noun}" for noun in hidden)
    help_text = f"Show {', '.join(others)}{' and ' if others else ''}{last}."
    return click.option("-q", "--quiet", is_flag=True, help=help_text)


def yes_option(verb: str) -> Callable[[_F], _F]:
    """Make `--yes`, which does something without asking."""
    return click.option("-y", "--yes", is_flag=True, help=f"{verb} without asking.")
