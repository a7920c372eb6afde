"""`jlocal verify`: compare a model's vectors with those of a reference."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jlocal.cli import output
from jlocal.cli.completion import complete_model
from jlocal.cli.options import compute_options
from jlocal.cli.output_options import quiet_option
from jlocal.excerpts.columns import clipped
from jlocal.printable import printable
from jlocal.progress import log

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from jlocal.embed.options import ComputeArguments
    from jlocal.verify import Report
    from jlocal.verify.report import Pair
    from jlocal.verify.texts import TextSet

_WIDTH = 80
_LOWEST = 3


@click.command("verify")
@click.argument("model", envvar="JLOCAL_MODEL", shell_complete=complete_model)
@click.option(
    "--against",
    "--reference",
    "against",
    metavar="REFERENCE",
    help="A GGUF file or the name of a model, a file that --save wrote, or a checkpoint's folder "
    "(needs: pip install 'jlocal[verify]'); the reference that comes with jlocal if not given.",
)
@click.option(
    "--texts",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Compare on these texts instead of jlocal's own: one a line, or JSON lines with text and "
    "language; may be repeated.",
)
@click.option(
    "--save",
    type=click.Path(path_type=Path),
    metavar="FILE.npz",
    help="Store the model's vectors and the texts as a reference; without --against nothing is "
    "compared.",
)
@click.option(
    "--min-cosine",
    type=click.FloatRange(-1, 1),
    metavar="X",
    help="Fail if the cosine of any text is below X.",
)
@click.option(
    "--task",
    metavar="NAME",
    help="Compare with this adapter of a checkpoint; the model's task if not given.",
)
@compute_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every text's cosine.")
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Draw cosines and losses as .svg or .png; needs: pip install 'jlocal[plot]'.",
)
@quiet_option("progress", "notes")
def command(  # noqa: PLR0913
    model: str,
    against: str | None,
    files: tuple[Path, ...],
    save: Path | None,
    min_cosine: float | None,
    as_json: bool,
    plot: Path | None,
    quiet: bool,
    task: str | None,
    **compute: Unpack[ComputeArguments],
) -> None:
    """Compare a model's vectors with those of a reference.

    MODEL is a name, the path of a GGUF file, or the folder of a checkpoint. Both embed texts in 20
    languages, or your own texts. The report shows the cosines of the vectors by prompt, length and
    language, and how many of the reference's ten nearest texts a search with the model finds, also
    with shortened, int8 and binary vectors. Exit status 1 means that something failed, or that a
    cosine is below --min-cosine.

    \b
    jlocal verify small-Q4_K_M.gguf --against small-F16.gguf
    jlocal verify small-F16.gguf --against CHECKPOINT --min-cosine 0.999
    jlocal verify CHECKPOINT --task retrieval --save small.npz
    jlocal verify small:Q8_0 --reference small.npz
    """
    from jlocal.verify import read_texts, save_reference, verify
    from jlocal.verify.plot import check_plot, draw
    from jlocal_convert.reference import CheckpointEncoder

    _check_options(against, save, compares=as_json or plot is not None or min_cosine is not None)
    if plot:
        check_plot(plot)
    texts = read_texts(files) if files else None
    show = not quiet and sys.stderr.isatty()
    with _notes(show=not quiet):
        if save and against is None:
            stored = save_reference(
                model,
                save,
                texts=texts,
                task=task,
                open_checkpoint=CheckpointEncoder,
                show_progress=show,
                **compute,
            )
            _log_stored(save, stored, quiet)
            return
        report = verify(
            model,
            against,
            texts=texts,
            task=task,
            save=save,
            open_checkpoint=CheckpointEncoder,
            show_progress=show,
            **compute,
        )
    if as_json:
        output.data(report.as_dict(), indent=2)
    else:
        for row in _page(report):
            output.line(row)
    if plot:
        draw(report, plot)
    if save:
        _log_stored(save, report.texts, quiet)
    if min_cosine is not None and report.least.cosine < min_cosine:
        raise click.ClickException(
            f"the least cosine is {report.least.cosine:.6f}, below {min_cosine:g}: "
            f"{_shown(report.least)}"
        )


def _check_options(against: str | None, save: Path | None, *, compares: bool) -> None:
    if save and save.suffix.lower() != ".npz":
        raise click.UsageError("--save writes a file that ends in .npz")
    if save and against is None and compares:
        raise click.UsageError(
            "--save without --against compares nothing, which --json, --plot and --min-cosine need"
        )
    if save and against and save.exists() and Path(against).exists() and save.samefile(against):
        raise click.UsageError("that is the reference itself; name another file")


@contextmanager
def _notes(*, show: bool) -> Iterator[None]:
    """Print the library's warnings as notes."""
    from jlocal.errors import DeviceWarning, TokenizerWarning

    with warnings.catch_warnings(record=True) as caught:
        for kind in (DeviceWarning, TokenizerWarning):
            warnings.simplefilter("always", kind)
        yield
    for message in dict.fromkeys(str(warning.message) for warning in caught if show):
        log(f"Note: {message}.")


def _page(report: Report) -> Iterator[str]:
    yield from report.table().split("\n")
    yield ""
    yield "The least cosines:"
    for pair in report.lowest(_LOWEST):
        label = f"{pair.cosine:9.5f}  "
        yield label + clipped(_shown(pair), _WIDTH - len(label))


def _shown(pair: Pair) -> str:
    language = f"{pair.text.language}, " if pair.text.language else ""
    text = printable(" ".join(pair.text.text[:_WIDTH].split()))
    return f"{printable(language)}{pair.prompt}, {pair.tokens:,} tokens: {text or '(white space)'}"


def _log_stored(target: Path, stored: TextSet, quiet: bool) -> None:
    if quiet:
        return
    for left in stored.left_out:
        log(f"Left out: a text of {left.tokens:,} tokens, above the {left.limit:,} of {left.model}")
    if stored.repeated:
        log(f"Note: {stored.repeated:,} repeated texts count once.")
    log(f"Stored the vectors of {len(stored.texts):,} texts in {target}")
