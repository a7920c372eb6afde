"""`jlocal search`: what is nearest to a query in a collection."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from jlocal.cli import output
from jlocal.cli.database import database_option
from jlocal.cli.hits import as_row, show
from jlocal.cli.interactive import converse
from jlocal.cli.options import compute_options, open_model, prompt_arguments


@click.command("search")
@click.argument("query", required=False)
@database_option
@click.option(
    "--interactive",
    is_flag=True,
    help="Answer one query after the other: from a prompt, or each line of standard input.",
)
@click.option(
    "-n", "count", type=click.IntRange(min=1), default=10, show_default=True, help="The most hits."
)
@click.option(
    "--path",
    metavar="GLOB",
    help="Only documents whose name fits or, with a slash, the end of whose path does.",
)
@click.option("--min-score", type=click.FloatRange(-1, 1), help="The least cosine.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line, for each hit.")
@click.option(
    "-m",
    "--model",
    help="Where the collection's model is, if it is no longer where it was.",
)
@compute_options
@click.option("--prompt", help="query, document or none; query if not given.")
@click.option("--prompt-text", metavar="TEXT", help="The prefix itself instead.")
def command(
    query: str | None,
    database: Path,
    interactive: bool,
    count: int,
    path: str | None,
    min_score: float | None,
    as_json: bool,
    model: str | None,
    prompt: str | None,
    prompt_text: str | None,
    **compute: Any,
) -> None:
    """Find the documents of a collection nearest to QUERY, best first.

    Each document, or page of a PDF file, is shown once, with the place and the text of its best
    passage, and the cosine of query and passage.

    With --interactive the model stays loaded. An empty line, Ctrl-D or Ctrl-C at the prompt ends
    it; Ctrl-C during a search returns to the prompt. Where standard input is no terminal, each of
    its lines is a query and has a page of its own, which begins with the query after a > and ends
    with an empty line. With --json each query gives exactly one line: its "query", and its "hits"
    or, where it cannot be answered, an "error"; exit status 1 means that there were some.

    \b
    jlocal search -d notes.db "what did we decide about backups?"
    jlocal search -d notes.db -n 3 --path 'minutes/*' --json "budget"
    jlocal search -d notes.db --interactive
    jlocal search -d notes.db --interactive --json < questions.txt > answers.jsonl
    """
    from jlocal.collection.collection import Collection

    if query is None and not interactive:
        raise click.UsageError("name a QUERY, or ask for a prompt with --interactive")
    prompt_name, prefix = prompt_arguments(prompt, prompt_text)
    with Collection(database) as collection:
        recipe = collection.recipe
        model = model or str(collection.model_file())
    with (
        open_model(None, model, pooling=recipe.pooling, **compute) as embedder,
        Collection(database, embedder) as collection,
    ):
        search = partial(
            collection.search,
            n=count,
            path=path,
            min_score=min_score,
            prompt_name=prompt_name,
            prompt=prefix,
        )
        if interactive:
            # What no query can mend is said before the first one.
            collection.check_model()
            embedder.prompt_text(prefix, prompt_name)
            click.get_current_context().exit(converse(query, search, as_json=as_json))
        hits = search(query or "")
    if not as_json:
        show(hits)
        return
    for hit in hits:
        output.data(as_row(hit))
