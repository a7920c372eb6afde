"""Suggestions for commands and options that do not exist."""

from __future__ import annotations

import difflib
import itertools
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import click

# The names of commands in other programs.
_SYNONYMS = {
    **dict.fromkeys(("add", "ingest", "import", "scan", "read", "crawl", "reindex"), "index"),
    **dict.fromkeys(("find", "query", "ask", "grep", "locate", "retrieve"), "search"),
    **dict.fromkeys(("download", "get", "install", "fetch"), "pull"),
    **dict.fromkeys(("ls", "models"), "list"),
    **dict.fromkeys(("info", "inspect", "describe", "cat"), "show"),
    **dict.fromkeys(("delete", "remove", "del", "uninstall"), "rm"),
    **dict.fromkeys(("encode", "embeddings", "vectorize", "vectorise"), "embed"),
    **dict.fromkeys(("compare", "similarity", "sim", "distance"), "similar"),
    **dict.fromkeys(("quantise", "compress"), "quantize"),
    **dict.fromkeys(("check", "diagnose", "selftest"), "doctor"),
    **dict.fromkeys(("benchmark", "speed"), "bench"),
    **dict.fromkeys(("pack", "package"), "bundle"),
    **dict.fromkeys(("plot", "visualize", "visualise"), "map"),
    **dict.fromkeys(("refresh", "sync"), "update"),
    **dict.fromkeys(("stats", "state"), "status"),
    "version": "--version",
    "usage": "help",
}

# Names of options in other programs, each with ours; the first that the command has is meant.
_OPTIONS = {
    **dict.fromkeys(("db", "collection", "index", "store", "c"), ("--database",)),
    **dict.fromkeys(
        ("n", "num", "number", "count", "results", "max-results", "num-results", "n-results"),
        ("--limit",),
    ),
    **dict.fromkeys(("folder", "dir", "directory", "file"), ("--in",)),
    **dict.fromkeys(("threshold", "score", "min-similarity", "score-threshold"), ("--min-score",)),
    **dict.fromkeys(
        ("glob", "pattern", "filter", "ext", "extension", "extensions"), ("--include", "--path")
    ),
    **dict.fromkeys(("ignore", "skip"), ("--exclude",)),
    **dict.fromkeys(("force", "f", "recreate", "reindex", "reset", "fresh"), ("--rebuild",)),
    **dict.fromkeys(("max-tokens", "tokens"), ("--chunk",)),
    **dict.fromkeys(("dim", "dims", "dimension", "truncate-dim"), ("--dimensions",)),
    **dict.fromkeys(("out", "outfile", "o"), ("--output",)),
}
_RECURSIVE = ("r", "recursive", "recurse")

# Commands for all folders of a collection.
_WHOLE = ("update", "watch", "status")

# With these a question begins, and `what` is spelled nearly like `watch`.
_ASKS = {"what", "who", "whose", "where", "when", "why", "how", "which", "did", "is", "are", "can"}


def no_such_command(group: click.Group, context: click.Context, words: Sequence[str]) -> Exception:
    """Make the error for an unknown command, with a suggestion.

    Args:
        group: that has no such command.
        context: of the group.
        words: the arguments after the group.

    """
    typed, is_top = words[0], context.parent is None
    known = group.list_commands(context)
    asks = len(words) > 1 and typed.casefold() in _ASKS
    meant = None if asks else nearest(typed, known, _SYNONYMS if is_top else {})
    plain = itertools.takewhile(lambda word: not word.startswith("-"), words)
    query = " ".join(" ".join(plain).split())[:200]
    is_sentence = is_top and len(query.split()) > 2 and not any(map(_is_argument, words))
    is_text = len(typed.split()) > 1
    message = "that is not a command" if is_text else f"there is no command {typed[:80]!r}"
    if meant:
        message += f"; did you mean {context.command_path} {meant}?"
    elif not is_top or not query:
        message += f"; there are {', '.join(known)}"
    elif _exists(typed):
        message += f"; to read it: jlocal index {shlex.join(words)}"
    if query and is_top and not (meant or _exists(typed)):
        message += f"; to search your files: jlocal search {_quoted(query)}"
    elif is_sentence and meant != "search":
        message += f" Or, to search your files: jlocal search {_quoted(query)}"
    return click.UsageError(message, context)


def no_such_option(error: click.NoSuchOption) -> click.UsageError:
    """Make the error for an unknown option, with a suggestion."""
    context = error.ctx
    message = f"no such option: {error.option_name[:80]}"
    if context is None:
        return click.UsageError(message)
    known = {name for option in context.command.params for name in option.opts}
    word = error.option_name.lstrip("-").replace("_", "-").casefold()
    synonym = next((name for name in _OPTIONS.get(word, ()) if name in known), None)
    meant = synonym or nearest(f"--{word}", sorted(name for name in known if name[:2] == "--"))
    if meant:
        message += f"; did you mean {meant}?"
    elif context.parent is None:
        message += "; the options of a command are written after its name"
    elif word in _RECURSIVE and "paths" in known:
        message += "; folders are read with all folders in them"
    elif "query" in known:
        message += "; in a query, write -- before words that begin with a dash"
    return click.UsageError(message, context)


def stray_arguments(context: click.Context, words: Sequence[str]) -> click.UsageError:
    """Make the error for arguments that a command does not take, with a suggestion."""
    from jlocal.cli.database import flag
    from jlocal.collection.names import collections

    name, word = context.command_path, words[0]
    options = {option for parameter in context.command.params for option in parameter.opts}
    is_path, is_one = _exists(word), len(words) == 1
    if is_one and not is_path and "--database" in options and word in collections():
        message = f"did you mean {name} -d {shlex.quote(word)}?"
    elif context.command.name in _WHOLE or (is_path and "--database" in options):
        command = f"jlocal index {shlex.join(words)}{flag(context.params['database'])}"
        message = (
            f"{name} takes no paths, because it is for all folders of a collection; "
            f"to index {word[:80]}: {command}"
        )
    elif is_one and "--output" in options:
        message = f"did you mean {name} -o {shlex.quote(word)}?"
    elif is_one and not is_path and "--model" in options:
        message = f"did you mean {name} -m {shlex.quote(word)}?"
    else:
        message = f"{name} does not take {word[:80]!r}; {name} --help shows what it takes"
    return click.UsageError(message, context)


def nearest(typed: str, known: Sequence[str], synonyms: dict[str, str] | None = None) -> str | None:
    """Return the most similar name, if any is near."""
    word = typed.casefold().strip()
    meant = (synonyms or {}).get(word)
    if meant and (meant in known or meant in ("help", "--version")):
        return meant
    # Its time grows with the square of the length.
    near = difflib.get_close_matches(word[:40], known, n=1, cutoff=0.65) if word else []
    return near[0] if near else None


def _is_argument(word: str) -> bool:
    return word.startswith("-") or _exists(word)


def _exists(typed: str) -> bool:
    try:
        return Path(typed).expanduser().exists()
    except (OSError, RuntimeError, ValueError):
        return False


def _quoted(query: str) -> str:
    """Write a query as one would type it: quoted only where a shell would not leave it alone."""
    if re.fullmatch(r"[\w\s.,:@%+=/-]+", query):
        return query
    return f'"{query}"' if not set(query) & set('"$`\\!') else shlex.quote(query)
