"""A plot of a report: the distribution of cosines, and the loss of shorter vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from jlocal import extras
from jlocal.errors import OutputError
from jlocal.outputs.atomic import atomic_write
from jlocal.verify.measure import DEPTH, PRECISIONS
from jlocal.verify.report import Report

_FORMATS = (".svg", ".png")


def check_plot(target: Path) -> None:
    """Check that a plot can be drawn, before anything is measured.

    Raises:
        OutputError: the ending of the file names no format.
        ExtraError: matplotlib is missing.

    """
    if target.suffix.lower() not in _FORMATS:
        raise OutputError(f"{target}: a plot ends in {' or '.join(_FORMATS)}", path=target)
    with extras.importing("plot", "a plot needs"):
        import matplotlib  # noqa: F401


def draw(report: Report, target: Path) -> None:
    """Write the plot as SVG or PNG, by the file's ending.

    Raises:
        OutputError: the file cannot be written; no part of it remains.

    """
    from matplotlib import style

    # Settings in the current folder are ignored.
    with style.context("default"):
        _draw(report, target)


def _draw(report: Report, target: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    _distribution(left, report)
    _losses(right, report)
    image_format = target.suffix.lower().removeprefix(".")
    with atomic_write(target) as file:
        # Without a date, the same figures give the same file.
        figure.savefig(
            file,
            format=image_format,
            dpi=150,
            metadata={"Date": None} if image_format == "svg" else {},
        )


def _distribution(axes: Any, report: Report) -> None:
    for prompt, cosines in report.cosines.items():
        shares = np.arange(1, len(cosines) + 1) / len(cosines)
        axes.step(np.sort(cosines), shares, where="post", label=prompt)
    axes.set(title="Cosine with the reference", xlabel="cosine", ylabel="share of texts up to it")
    axes.ticklabel_format(axis="x", useOffset=False)
    axes.tick_params(axis="x", rotation=20)
    axes.legend(title="prompt")
    axes.grid(alpha=0.3)


def _losses(axes: Any, report: Report) -> None:
    axes.set(title="What is found with shorter vectors", xlabel="dimensions")
    if report.neighbours is None:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "too few texts to rank", ha="center", transform=axes.transAxes)
        return
    for precision in PRECISIONS:
        points = [
            (dimension.dimensions, dimension.losses[precision])
            for dimension in report.dimensions
            if precision in dimension.losses
        ]
        lengths = [length for length, _ in points]
        (line,) = axes.plot(lengths, [loss.model.ndcg for _, loss in points], "o-", label=precision)
        own = [loss.reference.ndcg for _, loss in points]
        axes.plot(lengths, own, ":", color=line.get_color())
    axes.plot([], [], ":", color="gray", label="the reference's own")
    axes.set_xscale("log", base=2)
    lengths = [dimension.dimensions for dimension in report.dimensions]
    axes.set_xticks(lengths, [str(length) for length in lengths])
    axes.set_ylabel(f"nDCG@{DEPTH}")
    axes.legend()
    axes.grid(alpha=0.3)
