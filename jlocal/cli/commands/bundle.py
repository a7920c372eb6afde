"""`jlocal bundle`: models and the program in one file, for a machine without a network."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jlocal.cli.completion import complete_model
from jlocal.cli.group import Group
from jlocal.cli.options import offline_option
from jlocal.cli.output import line, path
from jlocal.cli.output_options import quiet_option
from jlocal.progress import log, make_bar

if TYPE_CHECKING:
    from jlocal.bundle.create import OnStep
    from jlocal.bundle.install import OnBytes

_quiet = quiet_option("progress", "notes")
_bundle = click.argument("bundle", type=click.Path(path_type=Path))


@click.group("bundle", cls=Group)
def command() -> None:
    """Carry models and the program to a machine without a network.

    A bundle is one uncompressed tar file with the SHA-256 of every file in it. With --with-wheels
    it also holds the program, and the other machine needs only Python:

    \b
    jlocal bundle create small --with-wheels -o jlocal.tar  # on this machine
    tar -xf jlocal.tar install.py                           # on the other one
    python3 install.py jlocal.tar
    """


@command.command("create")
@click.argument("models", nargs=-1, metavar="[MODEL]...", shell_complete=complete_model)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Bundle to write.",
)
@click.option(
    "--with-wheels",
    is_flag=True,
    help="Include jlocal and the packages that it needs; pip downloads or compiles them.",
)
@click.option(
    "--extras",
    metavar="NAMES",
    callback=lambda _context, _option, value: _names(value),
    help="Also include the packages of these extras, such as pdf,html,office; implies "
    "--with-wheels.",
)
@click.option(
    "--platform",
    metavar="TAG",
    help="Include wheels for another platform, such as manylinux_2_28_x86_64, win_amd64 or "
    "macosx_11_0_arm64.",
)
@click.option(
    "--native",
    is_flag=True,
    help="Include the llama.cpp of this machine, which needs a CPU like this one. Otherwise "
    "llama.cpp is compiled once for any x86-64 CPU with AVX2, which takes minutes.",
)
@_quiet
def create(
    models: tuple[str, ...],
    output: Path,
    with_wheels: bool,
    platform: str | None,
    native: bool,
    extras: tuple[str, ...],
    quiet: bool,
) -> None:
    """Write a bundle of models that are on this machine.

    MODEL is a name that `jlocal list` shows, or the path of a GGUF file. The path of the bundle is
    printed. A bundle with the program needs the same version of Python on the other machine.

    \b
    jlocal bundle create small -o small.tar
    jlocal bundle create small nano --extras pdf,html,office -o jlocal.tar
    jlocal bundle create small --with-wheels --platform win_amd64 -o jlocal.tar
    """
    from jlocal.bundle.create import create as run

    with_wheels = with_wheels or bool(extras)
    if not models and not with_wheels:
        raise click.UsageError("name a model, or include the program with --with-wheels")
    if (platform or native) and not with_wheels:
        raise click.UsageError("--platform and --native select wheels: add --with-wheels")
    if platform and native:
        raise click.UsageError("give --platform or --native, not both")
    with _steps(show=not quiet and sys.stderr.isatty()) as on_step:
        run(
            models,
            output,
            with_wheels=with_wheels,
            platform=platform,
            native=native,
            extras=extras,
            on_step=on_step,
        )
    path(output)


@command.command("verify")
@_bundle
@_quiet
def verify(bundle: Path, quiet: bool) -> None:
    """Check every byte of a bundle, and the headers of its models.

    \b
    jlocal bundle verify jlocal.tar
    """
    from jlocal.bundle.install import verify as run

    with _bytes(bundle, "checking", show=not quiet and sys.stderr.isatty()) as on_bytes:
        manifest = run(bundle, on_bytes)
    line(f"{bundle}: all {len(manifest.members)} files match its manifest")
    for model in manifest.models:
        line(f"model    {model.name}  {_shown(model.license)}")
    if program := manifest.program:
        needs = " ".join(program.cpu or ["no particular CPU"])
        extras = f"[{','.join(program.extras)}]" if program.extras else ""
        line(
            f"program  jlocal{extras} {program.jlocal}  Python {program.python}  "
            f"{program.platform}  {needs}"
        )


@command.command("install")
@_bundle
@_quiet
def install(bundle: Path, quiet: bool) -> None:
    """Check every byte of a bundle, then install its models.

    The names of the models are printed. To install the program as well, run the install.py that is
    in the bundle.

    \b
    jlocal bundle install small.tar
    """
    from jlocal.bundle.install import install as run

    with _bytes(bundle, "checking", show=not quiet and sys.stderr.isatty()) as on_bytes:
        models = run(bundle, on_bytes)
    for model in models:
        if not quiet and model.license:
            log(f"Licence of {model.name}: {_shown(model.license)}")
        line(model.name)


def _names(value: str | None) -> tuple[str, ...]:
    """Split a list at its commas; also accept `jlocal[pdf,html]`."""
    inner = (value or "").strip().removeprefix("jlocal").strip("[]")
    return tuple(dict.fromkeys(name for part in inner.split(",") if (name := part.strip())))


def _shown(licence: str | None) -> str:
    return (licence or "no licence named")[:80]


for _subcommand in command.commands.values():
    _subcommand.params.append(offline_option())


@contextmanager
def _steps(*, show: bool) -> Iterator[OnStep | None]:
    """Show the current step on stderr, with a clock or a bar; cleared at the end."""
    if not show:
        yield None
        return
    bars: list[Any] = []
    lock, ended = threading.Lock(), threading.Event()

    def on_step(what: str, size: int) -> OnBytes:
        shape = None if size else "{desc} … {elapsed}"
        with lock:
            while bars:
                bars.pop().close()
            bar = make_bar(what, total=size or None, unit="B", unit_scale=True, bar_format=shape)
            bars.append(bar)
        update: OnBytes = bar.update
        return update

    def tick() -> None:
        """Advance the clock: compiling takes minutes without output."""
        while not ended.wait(1):
            with lock:
                for bar in bars:
                    bar.refresh()

    clock = threading.Thread(target=tick, daemon=True)
    clock.start()
    try:
        yield on_step
    finally:
        ended.set()
        clock.join()
        while bars:
            bars.pop().close()


@contextmanager
def _bytes(bundle: Path, what: str, *, show: bool) -> Iterator[OnBytes | None]:
    with _steps(show=show) as on_step:
        size = bundle.stat().st_size if bundle.is_file() else 0
        yield on_step(what, size) if on_step else None
