"""`jlocal map`: draw a collection as a web page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click

from jlocal.cli.browser import cached_page, has_desktop, open_page
from jlocal.cli.database import database_option
from jlocal.cli.group import Command
from jlocal.cli.options import WholeNumber
from jlocal.cli.output import binary
from jlocal.cli.output import path as print_path
from jlocal.cli.output_options import quiet_option
from jlocal.filenames import rejoined
from jlocal.progress import log

_CLUSTERS = 8
_MOST_CLUSTERS = 12


@click.command("map", cls=Command)
@database_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Web page to write or replace; - is standard output. If not given, the page is kept in "
    "jlocal's cache, its path is printed, and a browser opens it.",
)
@click.option(
    "--open/--no-open",
    "shown",
    default=None,
    help="Open the page in a browser, or do not; by default it opens on a desktop unless "
    "--output is given.",
)
@click.option(
    "--method",
    type=click.Choice(["pca", "umap"]),
    default="pca",
    show_default=True,
    help="Lay points out by principal components, or by UMAP, which needs: pip install "
    "'jlocal[map]'.",
)
@click.option(
    "--color",
    type=click.Choice(["folder", "cluster"]),
    help="Color points by the first folder below the one that all documents have in common, or by "
    "cluster (k-means); by folder if neither this nor --clusters is given.",
)
@click.option(
    "--clusters",
    type=WholeNumber(1, _MOST_CLUSTERS),
    metavar="N",
    help=f"Make at most N clusters, up to {_MOST_CLUSTERS}; {_CLUSTERS} if not given.",
)
@click.option(
    "--limit",
    type=WholeNumber(min=1),
    default=50_000,
    show_default=True,
    metavar="N",
    help="Draw at most N points; a larger collection is sampled at random.",
)
@click.option(
    "--characters",
    type=WholeNumber(min=1),
    default=500,
    show_default=True,
    metavar="N",
    help="Keep the first N characters of each passage in the page, to show and to search.",
)
@click.option(
    "--title", metavar="TEXT", help="Title of the page; the name of the collection if not given."
)
@quiet_option("summary")
def command(  # noqa: PLR0913
    database: Path,
    output: Path | None,
    shown: bool | None,
    method: str,
    color: str | None,
    clusters: int | None,
    limit: int,
    characters: int,
    title: str | None,
    quiet: bool,
) -> None:
    """Draw a collection as one web page, a point for each passage.

    Points that lie close together have similar meanings. Point at one to see its path, line and
    first words; search for words; click the legend to show and hide groups. The page needs no
    network and can be sent to other people: it holds the beginnings of the passages, and their
    paths below the folder that all documents have in common.

    \b
    jlocal map
    jlocal map -d work -o map.html --clusters 6 --title "Our notes"
    """
    from jlocal.map.page import render
    from jlocal.map.picture import draw

    if clusters and color == "folder":
        raise click.UsageError("--clusters cannot be combined with --color folder")
    if color == "cluster" and clusters is None:
        clusters = _CLUSTERS
    page = output or cached_page(database)
    if page.exists() and database.exists() and page.samefile(database):
        raise click.UsageError("that is the collection itself; name another file with -o")
    if shown and str(page) == "-":
        raise click.UsageError("--open needs a file, and - is standard output")

    with _open_output(page) as file:
        picture = draw(
            database, method=method, clusters=clusters, limit=limit, characters=characters
        )
        file.write(render(picture, rejoined(title or database.stem)))
    drawn = len(picture.passages)
    if drawn < picture.total:
        sample = f"a random sample of {drawn:,} of {picture.total:,} passages"
        log(f"Note: {sample}; --limit draws more.")
    if not quiet:
        noun = "point" if drawn == 1 else "points"
        log(f"{drawn:,} {noun}. {picture.layout}")
    if output is None:
        print_path(page)
    if shown or (shown is None and output is None and has_desktop()):
        open_page(page)


@contextmanager
def _open_output(output: Path) -> Iterator[BinaryIO]:
    from jlocal.outputs.atomic import atomic_write

    if str(output) != "-":
        with atomic_write(output) as file:
            yield file
        return
    with binary() as file:
        yield file
