"""Options that several commands share."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import click

from jlocal.cli.completion import complete_model
from jlocal.filenames import rejoined
from jlocal.progress import log

if TYPE_CHECKING:
    from jlocal.embed.embedder import Embedder, OnLong
    from jlocal.embed.loading import Pooling
    from jlocal.embed.options import ComputeOptions

_F = TypeVar("_F", bound=Callable[..., Any])


class WholeNumber(click.IntRange):
    """A whole number within bounds, which Click's errors call an "integer range"."""

    name = "whole number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse a number, and name the bound that it exceeds."""
        number = super().convert(value, param, ctx) if not _is_whole(value) else int(value)
        if self.min is not None and number < self.min:
            self.fail(f"{number:,} is too small; the minimum is {self.min:,}.", param, ctx)
        if self.max is not None and number > self.max:
            self.fail(f"{number:,} is too large; the maximum is {self.max:,}.", param, ctx)
        return number


def _is_whole(value: object) -> bool:
    try:
        return isinstance(int(str(value)), int)
    except ValueError:
        return False


threads_option = click.option(
    "-t",
    "--threads",
    type=WholeNumber(min=1),
    metavar="N",
    envvar="JLOCAL_THREADS",
    show_envvar=True,
    help="Compute with N CPU threads; one for each physical core if not given.",
)
safe_cells_option = click.option(
    "--safe-cells",
    is_flag=True,
    help="In csv, put an apostrophe before texts that a spreadsheet would run as formulas.",
)
format_option = click.option(
    "-f",
    "--format",
    type=click.Choice(["npy", "npz", "jsonl", "csv", "parquet"]),
    help="Format of the output; inferred from the ending of its name if not given.",
)
include_option = click.option(
    "--include", multiple=True, metavar="GLOB", help="Read only these files in folders."
)
moved_model_option = click.option(
    "-m", "--model", help="Path of the collection's model, if the file was moved."
)
_CALIBRATION_OPTIONS = (
    click.option(
        "--calibrate",
        multiple=True,
        metavar="FILE",
        help="Compute an importance matrix from the texts in this file, one a line, or JSON lines "
        "with `text`; `default` takes the texts that come with jlocal.",
    ),
    click.option(
        "--imatrix",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Use this importance matrix, a GGUF file of jlocal or of llama-imatrix.",
    ),
)


def _chunk_size(value: str) -> int | Literal["auto"] | None:
    """Parse a number of tokens, `none` or `auto`."""
    if value == "auto":
        return "auto"
    if value.casefold() == "none":
        return None
    if not (value.isdecimal() and int(value)):
        raise click.BadParameter(f"{value!r} is neither a number of tokens nor none.")
    return int(value)


precision_option = click.option(
    "--precision",
    type=click.Choice(["float32", "float16", "int8", "uint8", "binary", "ubinary"]),
    default="float32",
    show_default=True,
    help="Number type of the vectors in the output.",
)
on_long_option = click.option(
    "--on-long",
    type=click.Choice(["error", "truncate"]),
    default="error",
    show_default=True,
    help="What to do with a text that is longer than the model's context.",
)
_CHUNK_OPTIONS = (
    click.option(
        "--chunk",
        type=_chunk_size,
        default="auto",
        show_default=False,
        metavar="TOKENS|none",
        help="Cut texts into chunks of at most this many tokens; none keeps each text whole. By "
        "default a new collection takes the size that suits the model.",
    ),
    click.option(
        "--overlap",
        type=WholeNumber(min=0),
        metavar="TOKENS",
        help="Repeat up to this many tokens of a chunk's end in the next chunk; 0 if not given.",
    ),
)
_COMPUTE_OPTIONS = (
    threads_option,
    click.option(
        "-ngl",
        "--gpu-layers",
        type=int,
        metavar="N",
        envvar="JLOCAL_GPU_LAYERS",
        show_envvar=True,
        help="Compute N layers on a GPU, if llama.cpp was built for one; all if not given.",
    ),
    click.option(
        "--compute-type",
        type=click.Choice(["auto", "stored", "bfloat16", "int8"]),
        default="auto",
        envvar="JLOCAL_COMPUTE_TYPE",
        show_envvar=True,
        help="Compute with the weights as stored, or convert them in memory to bfloat16 or int8; "
        "auto takes the fastest on this machine that is about as exact.",
    ),
)
model_option = click.option(
    "-m",
    "--model",
    envvar="JLOCAL_MODEL",
    show_envvar=True,
    metavar="MODEL",
    shell_complete=complete_model,
    help="Name of a model on this machine, or path of a GGUF file. If not given: the only "
    "model on this machine, or the starter model that comes with jlocal.",
)
_MODEL_OPTIONS = (
    model_option,
    click.option("--pooling", type=click.Choice(["last", "mean", "cls"]), hidden=True),
    *_COMPUTE_OPTIONS,
)
_TEXT_OPTIONS = (
    click.option(
        "--prompt",
        metavar="NAME",
        help="Put this prompt before each text: query, document or none; the model's default if "
        "not given.",
    ),
    click.option(
        "--prompt-text", metavar="TEXT", help="Put TEXT before each text, in place of a prompt."
    ),
    click.option(
        "--dimensions",
        type=WholeNumber(min=1),
        metavar="N",
        help="Keep the first N dimensions, if the model was trained for it (Matryoshka).",
    ),
    click.option(
        "--task", metavar="NAME", help="Fail if the model is not for this task, such as retrieval."
    ),
)


def add_options(options: Sequence[Callable[[_F], _F]], function: _F) -> _F:
    """Add options to a command, in the order of its help."""
    for option in reversed(options):
        function = option(function)
    return function


def calibration_options(function: _F) -> _F:
    """Add the options that name the source of an importance matrix."""
    return add_options(_CALIBRATION_OPTIONS, function)


def chunk_options(function: _F) -> _F:
    """Add the options of chunks."""
    return add_options(_CHUNK_OPTIONS, function)


def compute_options(function: _F) -> _F:
    """Add the options of `ComputeOptions`."""
    return add_options(_COMPUTE_OPTIONS, function)


def model_options(function: _F) -> _F:
    """Add the options that name a model and say how it is computed."""
    return add_options(_MODEL_OPTIONS, function)


def text_options(function: _F) -> _F:
    """Add the options that say how texts become vectors."""
    return add_options(_TEXT_OPTIONS, function)


def default_model(*, quiet: bool = False) -> str:
    """Return the model for a command that names none; note that it is the starter, unless quiet."""
    from jlocal.models import names, starter

    model = names.default_model()
    if model == starter.NAME and not quiet:
        log("Note: using the small English starter model; for better results: jlocal pull small")
    return model


def open_model(
    task: str | None,
    model: str | None,
    compute: ComputeOptions,
    *,
    pooling: str | None = None,
    on_long: OnLong = "error",
    quiet: bool = False,
) -> Embedder:
    """Load a model with the values of `model_options`; warnings are printed as notes.

    Args:
        task: the task that the model must be for; None allows any.
        model: a name or path; None takes the default model.
        compute: how the model is computed.
        pooling: `pooling` of `Embedder`.
        on_long: `on_long` of `Embedder`.
        quiet: print no note that the default is the starter model.

    Raises:
        ModelError: the model cannot be found or loaded.
        ArgumentError: the model is for another task, or cannot be computed in this way.

    """
    from jlocal.embed.embedder import Embedder
    from jlocal.errors import DeviceWarning, TokenizerWarning

    model = model or default_model(quiet=quiet)
    with warnings.catch_warnings(record=True) as notes:
        for category in (DeviceWarning, TokenizerWarning):
            warnings.simplefilter("always", category)
        method = cast("Pooling | None", pooling)
        embedder = Embedder(model, task=task, pooling=method, on_long=on_long, **vars(compute))
    for note in notes:
        log(f"Note: {note.message}.")
    return embedder


def prompt_arguments(prompt: str | None, prompt_text: str | None) -> tuple[str | None, str | None]:
    """Return `prompt_name` and `prompt` of `Embedder.encode`, from the two prompt options."""
    if prompt is not None and prompt_text is not None:
        raise click.UsageError("give --prompt or --prompt-text, not both")
    text = None if prompt_text is None else rejoined(prompt_text)
    return (None, "") if prompt == "none" else (prompt, text)


def _set_offline(_context: click.Context, _option: click.Parameter, offline: bool) -> None:
    if offline:
        os.environ |= {"JLOCAL_OFFLINE": "1", "HF_HUB_OFFLINE": "1"}


def offline_option() -> click.Option:
    """Make `--offline`, which every command has; it acts on the whole process."""
    return click.Option(
        ["--offline"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_set_offline,
        help="Use no network, as with JLOCAL_OFFLINE=1 or HF_HUB_OFFLINE=1.",
    )


def confirm(question: str, without_terminal: str) -> None:
    """Ask a question on the terminal; end the program with status 1 if the answer is no.

    Args:
        question: the question, answered by yes or no.
        without_terminal: the error message if there is no terminal.

    Raises:
        click.ClickException: there is no terminal to ask on.

    """
    if not sys.stdin.isatty():
        raise click.ClickException(without_terminal)
    agree(question)


def agree(question: str) -> None:
    """Ask a question, and end the program with status 1 if the answer is no."""
    if not click.confirm(question, err=True):
        log("Nothing was changed.")
        click.get_current_context().exit(1)


def size_text(size: int) -> str:
    """Return a number of bytes as text, such as "12 MB"."""
    return f"{size / 1e6:,.0f} MB" if size >= 1e6 else f"{size / 1e3:,.0f} kB"
