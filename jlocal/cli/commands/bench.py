"""`jlocal bench`: measure model files on this machine."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from jlocal.cli import flags, output
from jlocal.cli.completion import complete_model
from jlocal.cli.options import compute_options, default_model
from jlocal.cli.output_options import quiet_option
from jlocal.printable import printable
from jlocal.progress import log, make_bar

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from jlocal.bench.machine import Machine
    from jlocal.bench.report import Measurement, Report, Speed
    from jlocal.bench.run import OnStep
    from jlocal.embed.options import ComputeArguments

_WIDTH = 80


@click.command("bench")
@click.argument("models", nargs=-1, metavar="[MODEL]...", shell_complete=complete_model)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0),
    default=90,
    show_default=True,
    metavar="S",
    help="Take about S seconds in all; slow machines need more for one round of each length.",
)
@compute_options
@click.option(
    "--every-type",
    is_flag=True,
    help="Measure each file in every compute type that this machine has, and recommend one.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the seconds of each round.")
@quiet_option("progress")
def command(
    models: tuple[str, ...],
    seconds: float,
    every_type: bool,
    as_json: bool,
    quiet: bool,
    **compute: Unpack[ComputeArguments],
) -> None:
    """Measure model files on this machine, and recommend one.

    MODEL is a name or the path of a GGUF file; if none is given, JLOCAL_MODEL or the only model on
    this machine. It measures for each file: the time to load it (shorter if it was read recently),
    the time to its first vector, the tokens per second in texts of three lengths, the peak memory
    of its process, and the lowest cosine of its vectors with those of the first file. Exit status 1
    means that a file could not be measured.

    \b
    jlocal bench MODEL-BF16.gguf MODEL-Q8_0.gguf MODEL-Q4_K_M.gguf
    jlocal bench MODEL-Q8_0.gguf --every-type
    """
    from jlocal.bench.run import bench

    chosen = models or (os.environ.get("JLOCAL_MODEL") or default_model(quiet=quiet),)
    with _progress(len(chosen), show=not quiet and sys.stderr.isatty()) as on_step:
        report = bench(chosen, seconds=seconds, every_type=every_type, on_step=on_step, **compute)
    report = _worded(report)
    if as_json:
        output.data(report.as_dict(), indent=2)
    elif report.measured:
        for row in _page(report):
            output.line(row)
    _report_failures(report)


@contextmanager
def _progress(count: int, *, show: bool) -> Iterator[OnStep | None]:
    """Show the current measurement on stderr; cleared at the end."""
    if not show:
        yield None
        return
    names: dict[str, int] = {}
    with make_bar(bar_format="{desc}") as bar:

        def on_step(name: str, step: str) -> None:
            number = names.setdefault(name, len(names) + 1)
            bar.set_description_str(printable(f"{number} of {count}, {name}: {step}"))

        yield on_step


def _page(report: Report) -> Iterator[str]:
    from jlocal.bench.report import recommend

    assert report.machine
    yield from _about(report.machine)
    yield ""
    yield from _table(report)
    yield ""
    yield from _notes(report.measured, report.machine.gpu)
    yield ""
    yield from _wrap(recommend(report.measured))


def _about(machine: Machine) -> Iterator[str]:
    threads = f"{machine.threads} thread" + "s" * (machine.threads > 1)
    yield from _wrap(f"{machine.cpu}, {threads}" + ", layers on a GPU" * machine.gpu)
    yield (
        f"jlocal {machine.jlocal}, llama.cpp {machine.llama_cpp} "
        f"(llama-cpp-python {machine.llama_cpp_python})"
    )
    yield from _wrap(machine.system_info.replace(" = 1", "").replace(" | ", " "))


def _table(report: Report) -> Iterator[str]:
    """Yield two header lines and one line for each model; names get the columns left over."""
    from jlocal.bench.report import LENGTHS, Measurement

    # The space is for an asterisk.
    lengths = [f"{length:,} " for length in LENGTHS.values()]
    lines = [
        ("", ["file", "load", "first", *lengths, "peak", "cosine"]),
        ("", ["MB", "s", "s", *["tok/s "] * len(lengths), "MB", ""]),
        *(
            (model.name, _figures(model))
            for model in report.models
            if isinstance(model, Measurement)
        ),
    ]
    widths = [max(map(len, column)) for column in zip(*(cells for _, cells in lines), strict=True)]
    room = min(max(len(model.name) for model in report.models), _WIDTH - sum(widths) - len(widths))
    for name, cells in lines:
        shown = name if len(name) <= room else f"…{name[-room + 1 :]}"
        figures = (cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
        yield " ".join([shown.ljust(room), *figures]).rstrip()


def _figures(model: Measurement) -> list[str]:
    return [
        f"{model.bytes / 1e6:,.0f}",
        f"{model.load_seconds:.2f}",
        f"{model.first_vector_seconds:.2f}",
        *(f"{speed.tokens_per_second:,.0f}{_mark(speed)}" for speed in model.speeds.values()),
        "-" if model.peak_bytes is None else f"{model.peak_bytes / 1e6:,.0f}",
        "-" if model.cosine is None else f"{model.cosine:.5f}",
    ]


def _mark(speed: Speed) -> str:
    return "*" if len(speed.rounds) == 1 else " "


def _notes(measured: Sequence[Measurement], gpu: bool) -> Iterator[str]:
    """Yield the notes that explain the table."""
    from jlocal.bench.report import LENGTHS

    lengths = ", ".join(f"{length:,}" for length in LENGTHS.values())
    peak = "peak: of memory" + " (not the GPU's)" * gpu
    yield from _wrap(f"first: to the first vector; {lengths}: tokens in a text; {peak}")
    for model in measured:
        longest = model.speeds["long"].length
        notes = list(model.notes)
        if longest < LENGTHS["long"]:
            notes.append(f"its longest texts have {longest:,} tokens, as its context")
        if model.compute_type != "stored" and not model.name.endswith(f" {model.compute_type}"):
            notes.append(f"its weights are converted to {model.compute_type} in memory")
        for note in notes:
            yield from _wrap(f"{model.name}: {note}")
    if any(_mark(speed) == "*" for model in measured for speed in model.speeds.values()):
        yield "* from one round only; a larger --seconds allows more"


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, break_on_hyphens=False)


def _worded(report: Report) -> Report:
    """Name options instead of arguments in the reasons of failures."""
    from jlocal.bench.report import Failure

    models = [
        replace(model, reason=flags.worded(model.reason)) if isinstance(model, Failure) else model
        for model in report.models
    ]
    return replace(report, models=models)


def _report_failures(report: Report) -> None:
    if report.failed and len(report.models) == 1:
        raise click.ClickException(report.failed[0].reason)
    for model in report.failed:
        log(f"Not measured: {model.file}: {model.reason}")
    if report.failed:
        count = f"{len(report.failed)} of {len(report.models)} models"
        raise click.ClickException(f"{count} could not be measured")
