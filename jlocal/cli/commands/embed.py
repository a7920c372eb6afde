"""`jlocal embed`: vectors of files, lines and strings."""

from __future__ import annotations

import itertools
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import click

from jlocal.cli import flags
from jlocal.cli.display.lines import log_wrapped
from jlocal.cli.display.skipped import reason_of, skipped_lines
from jlocal.cli.encodings import encoding_option, log_encodings
from jlocal.cli.inputs import is_piped, paths_and_texts, without_broken_links
from jlocal.cli.options import (
    format_option,
    include_option,
    model_options,
    on_long_option,
    open_model,
    precision_option,
    prompt_arguments,
    safe_cells_option,
    text_options,
)
from jlocal.cli.output import binary
from jlocal.cli.output_options import quiet_option, verbose_option
from jlocal.collection.index.report import Skipped
from jlocal.embed.options import ComputeOptions, EncodeOptions
from jlocal.errors import OutputError, TruncationWarning
from jlocal.filenames import rejoined
from jlocal.inputs.documents import Document, Unreadable, read_file
from jlocal.inputs.lines import count_lines, read_lines
from jlocal.inputs.walk import find_files
from jlocal.progress import log

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from jlocal.embed.embedder import Embedder, OnLong
    from jlocal.embed.loading import Pooling
    from jlocal.embed.options import ComputeArguments
    from jlocal.embed.run import RunSummary
    from jlocal.outputs.journal import Journal
    from jlocal.outputs.writers import Writer
    from jlocal.progress import OnTexts


@click.command("embed")
@click.argument("named", nargs=-1, type=click.Path(readable=False), metavar="[PATH|TEXT]...")
@click.option(
    "-i",
    "--input",
    "inputs",
    multiple=True,
    metavar="FILE",
    help="Embed each line of this file; - is standard input.",
)
@click.option("-c", "--content", multiple=True, metavar="TEXT", help="Embed this text.")
@include_option
@encoding_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File to write or replace; JSON lines on standard output if not given, or -.",
)
@format_option
@safe_cells_option
@model_options
@text_options
@precision_option
@on_long_option
@verbose_option
@quiet_option("progress", "notes", "summary")
def command(  # noqa: PLR0913
    named: tuple[str, ...],
    inputs: tuple[str, ...],
    content: tuple[str, ...],
    include: tuple[str, ...],
    encoding: str | None,
    output: Path | None,
    format: str | None,
    safe_cells: bool,
    precision: str,
    verbose: bool,
    quiet: bool,
    task: str | None,
    dimensions: int | None,
    prompt: str | None,
    prompt_text: str | None,
    model: str | None,
    pooling: Pooling | None,
    on_long: OnLong,
    **compute: Unpack[ComputeArguments],
) -> None:
    """Embed files, folders, lines or texts.

    Each file is one text, without its final line breaks, and its path is its id. HTML pages, PDF
    files and office documents are read with `pip install 'jlocal[files]'`. In folders, files and
    folders whose names begin with a dot are left out; files that are not text and broken links are
    skipped and counted, and -v names them. Exit status 1 means that some inputs could not be
    embedded; the vectors of all other inputs are written.

    Without arguments, each line of standard input is a text. An argument with spaces that is not
    the name of a file is a text; so is each value of -c.

    A spreadsheet runs texts that begin with =, +, - or @ as formulas, even in quotation marks: use
    --safe-cells for csv files that you will open in one.

    An interrupted or killed run continues where it stopped when you start it again with the same
    inputs, model and output. Until the output is complete, a hidden file beside it keeps the
    finished vectors, in 4 bytes for each dimension. A run that writes to standard output cannot
    continue.

    \b
    jlocal embed "a text"
    jlocal embed notes/ --include '*.md' -m MODEL.gguf -o notes.npz
    jlocal embed -i lines.txt -m MODEL.gguf -o lines.npy
    cat lines.txt | jlocal embed
    """
    from jlocal.embed.run import embed_documents
    from jlocal.progress import text_progress_bar

    paths, texts = paths_and_texts(named)
    content = tuple(map(rejoined, (*content, *texts)))
    if not (paths or inputs or content):
        if not is_piped():
            raise click.UsageError("nothing to embed: name files or folders, or a text in quotes")
        inputs = ("-",)
    options = EncodeOptions(*prompt_arguments(prompt, prompt_text), dimensions, precision)
    computed = ComputeOptions(**compute)
    chosen = _format(output, format)
    if safe_cells and chosen != "csv":
        raise click.UsageError("--safe-cells works only with csv")
    found, broken = without_broken_links(find_files(paths, include), paths)
    if texts and not quiet:
        log(f"No file has this name; it was embedded as a text: {texts[0][:60]}")
    if not (inputs or content) and all(isinstance(item, Unreadable) for item in found):
        for item in found:
            _report(cast(Unreadable, item))
        raise click.ClickException("there is nothing to embed")
    show = not quiet and sys.stderr.isatty()
    total = _total(found, inputs, content) if show else None
    read_as = Counter[str]()
    skipped = [Skipped(str(path), "link") for path in broken]
    with (
        open_model(
            task, model, computed, pooling=pooling, on_long=on_long, quiet=quiet
        ) as embedder,
        _open_output(
            output, chosen, embedder, options, computed.gpu_layers, safe_cells=safe_cells
        ) as (writer, journal),
        text_progress_bar(total, show=show) as on_texts,
    ):
        files = _files(found, paths, encoding, read_as, _Skipping(skipped, on_texts))
        account = embed_documents(
            embedder,
            itertools.chain(files, _texts(found, inputs, content, encoding, read_as)),
            options,
            writer,
            on_failure=_report,
            on_truncated=_report_cut,
            on_texts=on_texts,
            journal=journal,
        )
        _log_skipped([] if quiet else skipped, verbose=verbose)
        if account.done == 0:
            raise OutputError("nothing was embedded, so no output was written")
    if not quiet:
        log_encodings(read_as)
    _summarise(account, journal, output, quiet)
    if account.failed:
        click.get_current_context().exit(1)


@dataclass(frozen=True)
class _Skipping:
    """Collects skipped files; they are finished texts for the progress bar."""

    files: list[Skipped]
    on_texts: OnTexts | None

    def skip(self, file: Skipped) -> None:
        self.files.append(file)
        if self.on_texts:
            self.on_texts(1, 0)


def _files(
    found: Sequence[Path | Unreadable],
    named: Sequence[Path],
    encoding: str | None,
    read_as: Counter[str],
    skipping: _Skipping,
) -> Iterator[Document | Unreadable]:
    """Read files; those in folders that are not text are skipped, as they are by `jlocal index`."""
    roots = set(named)
    for item in found:
        document = item if isinstance(item, Unreadable) else read_file(item, encoding)
        if isinstance(document, Document):
            yield document
            read_as.update(filter(None, [document.encoding]))
            yield from document.losses
        elif document.cause == "failure" or item in roots:
            yield document
        else:
            skipping.skip(Skipped(document.id, document.cause, document.extra))


def _texts(
    found: Sequence[Path | Unreadable],
    inputs: Sequence[str],
    content: Sequence[str],
    encoding: str | None,
    read_as: Counter[str],
) -> Iterator[Document | Unreadable]:
    named = len(found) + len(inputs) + bool(content) > 1
    for name in inputs:
        try:
            with cast(BinaryIO, click.open_file(name, "rb")) as file:
                said = ""
                for line in read_lines(file, name, named=named, encoding=encoding):
                    yield line
                    said = said or (line.encoding if isinstance(line, Document) else "")
                read_as.update(filter(None, [said]))
        except OSError as error:
            yield Unreadable(name, error.strerror or str(error))
    for number, text in enumerate(content, start=1):
        yield Document(str(number), text)


def _format(output: Path | None, format: str | None) -> str:
    """Choose the format, before anything is loaded."""
    from jlocal.outputs.writers import format_of

    if output is not None and str(output) != "-":
        return format or format_of(output)
    if format not in (None, "jsonl"):
        raise click.UsageError(f"{format} cannot go to standard output; name a file with -o")
    return "jsonl"


@contextmanager
def _open_output(
    output: Path | None,
    format: str,
    model: Embedder,
    options: EncodeOptions,
    gpu_layers: int | None,
    *,
    safe_cells: bool,
) -> Iterator[tuple[Writer, Journal | None]]:
    from jlocal.embed.run import computed_by, run_metadata
    from jlocal.outputs.journal import open_journal
    from jlocal.outputs.writers import JsonLines, open_writer

    if output is None or str(output) == "-":
        with binary() as file:
            yield JsonLines(file), None
        return
    description = run_metadata(model, options)
    made = computed_by(model, description, gpu_layers)
    with (
        open_journal(output, made, model.profile.dimensions, log) as journal,
        open_writer(output, format, description, safe_cells=safe_cells) as writer,
    ):
        yield writer, journal


def _total(
    found: Sequence[Path | Unreadable], inputs: Sequence[str], content: Sequence[str]
) -> int | None:
    lines = [None if name == "-" else count_lines(Path(name)) for name in inputs]
    known = [count for count in lines if count is not None]
    return None if len(known) < len(lines) else len(found) + len(content) + sum(known)


def _report(failure: Unreadable) -> None:
    log(f"Not embedded: {failure.id}: {flags.worded(failure.reason)}")


def _report_cut(id: str, cut: TruncationWarning) -> None:
    log(f"Truncated: {id}: from {cut.tokens:,} to {cut.limit:,} tokens")


def _log_skipped(skipped: Sequence[Skipped], *, verbose: bool) -> None:
    if verbose:
        for item in skipped:
            log_wrapped(f"Skipped: {item.path}: {reason_of(item)}")
    for line in skipped_lines(skipped):
        log_wrapped(line)


def _summarise(
    account: RunSummary,
    journal: Journal | None,
    output: Path | None,
    quiet: bool,
) -> None:
    if account.failed:
        total = account.done + account.failed
        log(f"Error: {account.failed:,} of {total:,} inputs were not embedded.")
    if quiet or journal is None:
        return
    if journal.resumed:
        taken = f"{journal.reused:,} of {account.done:,} vectors were taken from an earlier run"
        log(taken)
    log(f"Wrote {account.done:,} vector{'s' if account.done != 1 else ''} to {output}")
