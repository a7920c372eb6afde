"""The command line: parsing, progress and printing. The work is the library's."""

from __future__ import annotations

import importlib
import io
import sys
import warnings
from typing import Any

import click

from jlocal import __version__
from jlocal.cli import signals
from jlocal.cli.options import offline_option
from jlocal.cli.output import StandardOutputError, open_streams
from jlocal.errors import EmptyCollectionError, JlocalError, MissingCollectionError
from jlocal.printable import printable
from jlocal.progress import say

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
        except StandardOutputError:
            raise
        except (MissingCollectionError, EmptyCollectionError) as error:
            from jlocal.cli.database import advice

            raise click.ClickException(printable(advice(error))) from error
        except JlocalError as error:
            raise click.ClickException(printable(str(error))) from error
        except KeyboardInterrupt:
            # Click would print an empty line.
            raise SystemExit(130) from None


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
    """Run the command line; the exit status is 128 and the signal's number after a signal."""
    open_streams()
    warnings.showwarning = lambda message, *_, **__: say(f"Warning: {message}")
    status = 1
    try:
        signals.install()
        status = _run()
        if not signals.received():
            sys.stdout.flush()
        signals.end_at_once()
    except BaseException as error:
        if not signals.received():
            status = _explain(error)
    if signals.received():
        signals.leave()
    sys.exit(status)


def _run() -> int:
    try:
        status = cli.main(prog_name="jlocal", standalone_mode=False)
    except BaseException as error:
        # Whatever the code made of it that was interrupted.
        if signals.received():
            return 1
        return _explain(error)
    signals.forget()
    return status if isinstance(status, int) else 0


def _explain(error: BaseException) -> int:
    """Print why the program failed; return its exit status."""
    if isinstance(error, SystemExit):
        if isinstance(error.code, str):
            say(error.code)
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error, StandardOutputError):
        if not error.is_left:
            say(f"Error: {error}")
    elif isinstance(error, click.ClickException):
        _show(error)
        return error.exit_code
    elif isinstance(error, (click.Abort, KeyboardInterrupt)):
        say("Interrupted.")
        return 130
    elif isinstance(error, MemoryError):
        say("Error: there is not enough memory for this")
    elif isinstance(error, OSError):
        name = f"{error.filename}: " if error.filename else ""
        say(f"Error: {name}{error.strerror or error}")
    else:
        raise error
    return 1


def _show(error: click.ClickException) -> None:
    """Print the usage, which is our own text, and the message, which may quote anything."""
    whole = io.StringIO()
    error.show(whole)
    message = f"Error: {error.format_message()}"
    sys.stderr.write(whole.getvalue().removesuffix(f"{message}\n"))
    say(message)
