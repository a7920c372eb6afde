"""`jlocal search`: what is nearest to a query in a collection."""

from __future__ import annotations

import json
import os
import shutil
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jlocal.cli.options import compute_options, database_option, open_model, prompt_arguments

if TYPE_CHECKING:
    from jlocal.collection.search import Hit

_LINES = 3


@click.command("search")
@click.argument("query")
@database_option
@click.option(
    "-n", "count", type=click.IntRange(min=1), default=10, show_default=True, help="The most hits."
)
@click.option(
    "--path",
    metavar="GLOB",
    help="Only documents whose name fits or, with a slash, the end of whose path does.",
)
@click.option("--min-score", type=click.FloatRange(-1, 1), help="The least cosine.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line.")
@click.option(
    "-m",
    "--model",
    help="Where the collection's model is, if it is no longer where it was.",
)
@compute_options
@click.option("--prompt", help="query, document or none; query if not given.")
@click.option("--prompt-text", metavar="TEXT", help="The prefix itself instead.")
def command(
    query: str,
    database: Path,
    count: int,
    path: str | None,
    min_score: float | None,
    as_json: bool,
    model: str | None,
    prompt: str | None,
    prompt_text: str | None,
    **compute: Any,
) -> None:
    """Find the documents of a collection that are nearest to QUERY, best first.

    Each document is shown once, with the place and the text of its best passage, and the cosine
    of query and passage.

    \b
    jlocal search -d notes.db "what did we decide about backups?"
    jlocal search -d notes.db -n 3 --path 'minutes/*' --json "budget"
    """
    from jlocal.collection.collection import Collection

    prompt_name, prefix = prompt_arguments(prompt, prompt_text)
    with Collection(database) as collection:
        recipe = collection.recipe
        model = model or str(collection.model_file())
    with (
        open_model(None, model, pooling=recipe.pooling, **compute) as embedder,
        Collection(database, embedder) as collection,
    ):
        hits = collection.search(
            query, count, path, min_score=min_score, prompt_name=prompt_name, prompt=prefix
        )
    if as_json:
        for hit in hits:
            click.echo(_as_json(hit))
        return
    if not hits:
        click.echo("Nothing found.", err=True)
    width = min(shutil.get_terminal_size().columns, 100)
    for hit in hits:
        _show(hit, width)


def _as_json(hit: Hit) -> str:
    row = {
        "path": hit.path,
        "first_line": hit.first_line,
        "last_line": hit.last_line,
        "score": round(hit.score, 6),
        "text": hit.text,
    }
    return json.dumps(row, ensure_ascii=False)


def _show(hit: Hit, width: int) -> None:
    path = _printable(_near(hit.path))
    colour = "NO_COLOR" not in os.environ
    place = click.style(path, fg="cyan", bold=True) if colour else path
    score = click.style(f"{hit.score:.3f}", fg="green") if colour else f"{hit.score:.3f}"
    click.echo(f"{score}  {place}:{hit.first_line}")
    for line in _wrapped(_printable(" ".join(hit.text.split())), width - 7, _LINES):
        click.echo(f"       {line}")


def _near(path: str) -> str:
    """Name a file from here, if it is below this folder."""
    here = f"{Path.cwd()}{os.sep}"
    return path.removeprefix(here)


def _printable(text: str) -> str:
    # What a terminal would take for a command, a name may hold as well.
    return "".join(
        letter if letter.isprintable() or letter == "\u200d" else "\ufffd" for letter in text
    )


def _wrapped(text: str, columns: int, most: int) -> Iterator[str]:
    """Cut a text to lines that are not wider, as a terminal counts, and at most so many."""
    for number in range(1, most + 1):
        end = _fits(text, columns)
        if end == len(text):
            yield text
            return
        if number == most:
            yield text[: _fits(text, columns - 1)].rstrip() + "…"
            return
        space = text.rfind(" ", 0, end + 1)
        cut = space if space > end // 2 else end
        yield text[:cut]
        text = text[cut:].lstrip()


def _fits(text: str, columns: int) -> int:
    """How many characters fit."""
    used = 0
    for place, letter in enumerate(text):
        wide = unicodedata.east_asian_width(letter) in "WF"
        used += 0 if unicodedata.category(letter) in ("Mn", "Me", "Cf") else 1 + wide
        if used > columns:
            return place
    return len(text)
