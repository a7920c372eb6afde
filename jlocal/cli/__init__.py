"""The command line: parsing, progress and printing. The work is the library's."""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
from typing import Any

import click

from jlocal import __version__
from jlocal.cli.options import offline_option
from jlocal.errors import JlocalError

_COMMANDS = (
    *("embed", "similar", "index", "search", "map", "export", "pull"),
    *("list", "show", "rm", "convert", "quantize", "bundle", "verify", "doctor", "bench"),
)


class _Commands(click.Group):
    """Loads a command's module when it is asked for, and turns errors into one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        # `list` is a module of this package once that command is loaded.
        return [*_COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"jlocal.cli.{cmd_name}")
        command: click.Command = module.command
        if not any(option.name == "offline" for option in command.params):
            command.params.append(offline_option())
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except JlocalError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", message="%(prog)s %(version)s")
def cli() -> None:
    """Embed texts with jina-embeddings-v5 on this machine, offline.

    \b
    jlocal pull small                               get a model
    jlocal embed notes/ -m small -o notes.npz       vectors of files
    jlocal similar -m small "a cat" "a kitten"      how alike texts are
    jlocal index notes/ -m small -d notes.db        files into a collection
    jlocal search -d notes.db "a question"          what is nearest to it
    jlocal map -d notes.db -o map.html              the collection as a picture
    jlocal export -d notes.db -o notes.parquet      vectors for other programs
    jlocal convert CHECKPOINT --to Q8_0 -o models   make a GGUF file
    jlocal quantize F16.gguf --to Q4_K_M -o models  make it smaller
    jlocal bundle create small -o small.tar         carry a model over an air gap
    jlocal verify Q4_K_M.gguf --against F16.gguf    what a smaller file loses
    jlocal bench BF16.gguf Q8_0.gguf                which file to take here
    jlocal doctor                                   what is wrong on this machine
    """


def main() -> None:
    """Run the command line; the exit status is 130 after Ctrl-C, 143 after SIGTERM."""
    # A name or a text that the terminal's encoding lacks is shown escaped, not as a traceback.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, _on_sigterm)
    try:
        status = cli.main(prog_name="jlocal", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        sys.exit(130)
    except OSError as error:
        # Files have errors of their own, so this is standard output. A reader that has gone, as
        # with `| head`, knows; Python would complain once more while it ends.
        if not isinstance(error, BrokenPipeError):
            click.echo(f"Error: cannot write standard output: {error.strerror}", err=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(status if isinstance(status, int) else 0)


def _on_sigterm(_signal: int, _frame: object) -> None:
    # As an exception, so that half-written files go.
    sys.exit(143)
