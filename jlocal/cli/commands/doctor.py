"""`jlocal doctor`: check the installation."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from jlocal.cli import flags, output
from jlocal.cli.completion import complete_model
from jlocal.cli.output_options import json_option

if TYPE_CHECKING:
    from jlocal.doctor.report import Report
    from jlocal.llama.features import BuildInfo

_WIDTH = 80
_LEFT = 20


@click.command("doctor")
@click.argument("model", required=False, envvar="JLOCAL_MODEL", shell_complete=complete_model)
@json_option
def command(model: str | None, as_json: bool) -> None:
    """Check the installation and the vectors that it computes.

    The self-test embeds a sentence with MODEL in several ways, and compares the vectors: by
    llama.cpp's own pooling, in the compute type that is the default on this machine and, if the
    model came in a bundle, on the machine that made the bundle. MODEL is a name or a path; if not
    given, it is JLOCAL_MODEL or the smallest model on this machine. Exit status 1 means that
    something does not work; warnings leave it at 0.

    \b
    jlocal doctor
    jlocal doctor small --json
    """
    from jlocal.doctor.diagnose import diagnose

    report = diagnose(model)
    report.findings = [
        replace(finding, text=flags.worded(finding.text)) for finding in report.findings
    ]
    if as_json:
        output.data(report.as_dict(), indent=2)
    else:
        for row in _page(report):
            output.line(row)
    if report.broken:
        sys.exit(1)


def _page(report: Report) -> Iterator[str]:
    for name, value in report.versions.items():
        yield from _row(name, value or "not installed")
    if report.llama:
        yield from _row("llama.cpp", report.llama.version)
        yield from _row("GPU", _gpu(report.llama))
        yield from _row("own kernels", _kernels(report.llama))
    yield from _row("memory", _memory(report))
    variables = report.offline.variables
    words = " ".join(f"{name}={value}" for name, value in variables.items())
    yield from _row("offline", f"yes: {words}" if report.offline.offline else "no")
    yield from _features(report)
    yield ""
    for folder in report.folders:
        writable = "" if folder.writable else ", cannot be written"
        free = "" if folder.free is None else f", {_mega(folder.free)} free"
        yield from _row(folder.name, f"{_mega(folder.size)}{free}{writable}")
        yield from _row("", folder.path)
    yield ""
    for model in report.models:
        yield from _row("model", model.name)
        yield from _row("", f"{_mega(model.size)}, about {_mega(model.needs)} in memory")
    yield from _self_test(report)
    yield from _findings(report)


def _gpu(build: BuildInfo) -> str:
    backends = [name for name in build.backends if name not in ("cpu", "blas")]
    built = f"built for {', '.join(backends)}" if backends else "built for the CPU alone"
    return f"{built}; found: {', '.join(build.gpus) or 'none'}"


def _kernels(build: BuildInfo) -> str:
    return ", ".join(build.kernels) or f"none: {build.no_kernels or 'not known'}"


def _memory(report: Report) -> str:
    words = [
        f"{_mega(size)} {name}" for name, size in vars(report.memory).items() if size is not None
    ]
    return ", ".join(words) or "not known"


def _features(report: Report) -> Iterator[str]:
    if not report.features:
        return
    yield ""
    yield f"{'instruction set':{_LEFT}}{'llama.cpp':12}this CPU"
    for name, row in report.features.items():
        here = "not known" if row.cpu is None else "yes" if row.cpu else "no"
        yield f"{name:{_LEFT}}{'yes' if row.llama else 'no':12}{here}"


def _self_test(report: Report) -> Iterator[str]:
    test = report.self_test
    if test is None or not test.done:
        yield from _row("self-test", f"not done: {test and test.reason}")
        return
    yield from _row("self-test", "passed" if test.passed else "FAILED")
    yield from _row("", test.model or "")
    for name, cosine in (test.cosine or {}).items():
        shown = "none" if cosine is None else f"{cosine:.6f}"
        yield from _row("", f"cosine {shown} with {name}")


def _findings(report: Report) -> Iterator[str]:
    for finding in report.findings:
        yield ""
        yield from textwrap.wrap(
            f"{finding.level.capitalize()}: {finding.text}",
            _WIDTH,
            break_long_words=False,
            break_on_hyphens=False,
        )
        yield from finding.command
    if not report.findings:
        yield ""
        yield "Nothing is wrong."


def _row(name: str, value: str) -> Iterator[str]:
    """Put a value beside its name, on several lines if it is long; a path is never broken."""
    lines = textwrap.wrap(
        value, _WIDTH - _LEFT, break_long_words=False, break_on_hyphens=False
    ) or [""]
    for number, line in enumerate(lines):
        yield f"{'' if number else name:{_LEFT}}{line}"


def _mega(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
