"""`jlocal search`: find the passages of a collection that answer a query."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jlocal.cli import output
from jlocal.cli.database import database_option
from jlocal.cli.display.hits import as_row, print_paths, show
from jlocal.cli.display.screen import ColorChoice, Screen, color_option
from jlocal.cli.interactive import converse
from jlocal.cli.opener import open_hit
from jlocal.cli.options import WholeNumber, compute_options, moved_model_option, prompt_arguments
from jlocal.cli.source import Source, opened_search
from jlocal.embed.options import ComputeOptions
from jlocal.filenames import rejoined

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from jlocal.collection.search.ranking import Mode
    from jlocal.embed.options import ComputeArguments

_SHOWN = 5


@click.command("search")
@click.argument("query", nargs=-1)
@database_option
@click.option(
    "-n",
    "-k",
    "--top-k",
    "--limit",
    "count",
    type=WholeNumber(min=1),
    default=_SHOWN,
    show_default=True,
    metavar="N",
    help="Find at most N hits.",
)
@click.option(
    "--mode",
    type=click.Choice(["both", "words", "meaning"]),
    default="both",
    show_default=True,
    help="Compare the words, the meaning, or both.",
)
@click.option(
    "--path",
    metavar="GLOB",
    help="Search only files and folders whose name or end of path matches.",
)
@click.option(
    "--in",
    "inside",
    metavar="PATH",
    help="Search only in this folder or file, or in those that a glob matches; they need not "
    "be indexed.",
)
@click.option(
    "--min-score",
    type=float,
    metavar="X",
    help="Leave out hits whose score is below X. The score is the relevance, from 0 to 1; "
    "with --mode meaning, it is the cosine.",
)
@click.option("--open", "opened", type=WholeNumber(min=1), metavar="N", help="Open hit N.")
@click.option("--files", is_flag=True, help="Print only the paths of files, each once.")
@click.option(
    "-0", "--null", is_flag=True, help="With --files, end paths with a NUL, for xargs -0."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print each hit as a JSON object on its own line."
)
@click.option(
    "--interactive",
    is_flag=True,
    help="Answer queries one after the other, from a prompt or from the lines of standard input.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print only hits.")
@color_option
@moved_model_option
@compute_options
@click.option("--prompt", metavar="NAME", help="Prompt for the query, or none; query if not given.")
@click.option(
    "--prompt-text", metavar="TEXT", help="Put this before the query instead of a named prompt."
)
def command(  # noqa: PLR0913
    query: tuple[str, ...],
    database: Path,
    count: int,
    mode: Mode,
    path: str | None,
    inside: str | None,
    min_score: float | None,
    opened: int | None,
    files: bool,
    null: bool,
    as_json: bool,
    interactive: bool,
    quiet: bool,
    color: ColorChoice,
    model: str | None,
    prompt: str | None,
    prompt_text: str | None,
    **compute: Unpack[ComputeArguments],
) -> None:
    """Find the passages that answer QUERY, best first.

    The query needs no quotation marks, except around characters that the shell interprets, such as
    ' ? * and &. Each document, or page of a PDF file, is shown once: its path and line, the
    headings above its best passage, its relevance, and the sentences that match.

    Without a query, a prompt appears on a terminal: a number opens that hit; an empty line, Ctrl-D
    or Ctrl-C ends the prompt; Ctrl-C during a search returns to it. With --interactive and no
    terminal, each line of standard input is a query. Its answer begins with a line of > and the
    query, and ends with an empty line. With --json, the answer is exactly one line with the "query"
    and either its "hits" or, if it failed, an "error"; exit status 1 means that some queries
    failed.

    --in searches a folder, a file, or the files and folders that a glob in quotation marks matches.
    If the collection does not cover them, they are indexed first, in a separate collection in the
    cache: as with grep, you prepare nothing, and the next search there embeds only new and changed
    files. The ten collections used last are kept there, and appear in no other search.

    --open opens text in $VISUAL or $EDITOR at the line, and other files with the desktop's default
    program; $JLOCAL_OPENER names another program, as in "less +{line} {path}".

    \b
    jlocal search what did we decide about backups
    jlocal search "what's new?" --path travel -n 20
    jlocal search how are passwords stored --in ~/work/shop
    jlocal search backups --open 1
    jlocal search backups --files -0 | xargs -0 grep -i restic
    jlocal search --interactive --json < questions.txt > answers.jsonl
    """
    is_dialogue = interactive or not query
    _check(
        is_dialogue=is_dialogue,
        interactive=interactive,
        opened=opened,
        files=files,
        null=null,
        as_json=as_json,
    )
    words = rejoined(" ".join(query))
    with ExitStack() as stack:
        search = opened_search(
            stack,
            Source(database, model, inside, quiet),
            ComputeOptions(**compute),
            prompt_arguments(prompt, prompt_text),
            n=max(count, opened or 0),
            mode=mode,
            path=path,
            min_score=min_score,
        )
        screen = Screen.of_stdout(color)
        if is_dialogue:
            first = words if query else None
            status = converse(first, search, screen, as_json=as_json, quiet=quiet)
            click.get_current_context().exit(status)
        hits = search(words)
    if opened:
        if opened > len(hits):
            raise click.ClickException(f"there is no hit {opened}; hits found: {len(hits)}")
        open_hit(hits[opened - 1])
    elif files:
        print_paths(hits, end="\0" if null else "\n")
    elif as_json:
        for hit in hits:
            output.data(as_row(hit))
    elif hits or not quiet:
        show(hits, words, screen, "" if quiet else _advice(len(hits), count))


def _check(
    *,
    is_dialogue: bool,
    interactive: bool,
    opened: int | None,
    files: bool,
    null: bool,
    as_json: bool,
) -> None:
    """Raise UsageError if options cannot be combined."""
    at_terminal = sys.stdin is not None and sys.stdin.isatty()
    if is_dialogue and not interactive and (opened or files or not at_terminal):
        raise click.UsageError(
            "name a query; --interactive reads queries from standard input, one per line"
        )
    if sum((bool(opened), files, as_json)) > 1 or ((opened or files) and is_dialogue):
        raise click.UsageError(
            "choose one of --open, --files, --json; only --json works with --interactive"
        )
    if null and not files:
        raise click.UsageError("--null works only with --files")


def _advice(found: int, wanted: int) -> str:
    more = f", -n {4 * wanted} to see more" if found == wanted else ""
    return f"Add --open 1 to open a hit{more}."
