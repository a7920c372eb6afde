"""The command line: parsing, progress and printing; the library does the work."""

from __future__ import annotations

import importlib
import io
import sys
import warnings
from typing import Any

import click

from jlocal._version import __version__
from jlocal.cli import flags, signals
from jlocal.cli.group import Group
from jlocal.cli.options import offline_option
from jlocal.cli.output import StandardOutputError, open_streams
from jlocal.errors import (
    EmptyCollectionError,
    JlocalError,
    MissingCollectionError,
    NoFoldersError,
)
from jlocal.printable import printable
from jlocal.progress import log

# The sections of the help, in the order in which a new user needs them.
_SECTIONS = {
    "Search your files": ("index", "search", "update", "watch", "status", "map"),
    "Collections": ("forget", "collections", "export", "import"),
    "Embed texts": ("embed", "similar", "cluster"),
    "For other programs": ("serve", "mcp"),
    "Models on this machine": ("pull", "list", "show", "rm", "doctor", "bundle"),
    "Make and measure model files": ("convert", "quantize", "verify", "bench", "mteb"),
}
# Since Click 8.2, a group without a command raises this error, which shows the help.
_NO_ARGUMENTS: tuple[type[Exception], ...] = tuple(
    filter(None, [getattr(click.exceptions, "NoArgsIsHelpError", None)])
)
_COMMANDS = tuple(name for names in _SECTIONS.values() for name in names)
_WIDTH = max(len(name) for name in _COMMANDS)


class _Commands(Group):
    """Loads a command's module on first use, and turns errors into one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in (*_COMMANDS, "help"):
            return None
        module = importlib.import_module(f"jlocal.cli.commands.{cmd_name}")
        command: click.Command = module.command
        if not any(option.name == "offline" for option in command.params):
            command.params.append(offline_option())
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, names in _SECTIONS.items():
            commands = [(name, self.get_command(ctx, name)) for name in names]
            rows = [
                # Columns have the same width in all sections.
                (name.ljust(_WIDTH), command.get_short_help_str(formatter.width - _WIDTH - 6))
                for name, command in commands
                if command
            ]
            with formatter.section(title):
                formatter.write_dl(rows)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise _no_such_option(error) from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.NoSuchOption as error:
            raise _no_such_option(error) from None
        except StandardOutputError:
            raise
        except (MissingCollectionError, EmptyCollectionError, NoFoldersError) as error:
            from jlocal.cli.database import advice

            raise click.ClickException(printable(advice(error))) from error
        except JlocalError as error:
            raise click.ClickException(printable(flags.message(error))) from error
        except KeyboardInterrupt:
            # Click would print an empty line.
            raise SystemExit(130) from None


def _no_such_option(error: click.NoSuchOption) -> click.UsageError:
    from jlocal.cli.suggest import no_such_option

    return no_such_option(error)


@click.group(
    cls=_Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="`jlocal help COMMAND` explains one of them.",
)
@click.version_option(__version__, "-V", "--version", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Search your files by words and by meaning, on this machine, offline.

    \b
    jlocal index ~/notes                            read a folder
    jlocal search what did we decide about backups  find the right note
    jlocal pull small                               better answers, 100 languages
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main() -> None:
    """Run the command line; after a signal, the exit status is 128 plus the signal's number."""
    open_streams()
    warnings.showwarning = lambda message, *_, **__: log(f"Warning: {message}")
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
        # The interrupted code may have turned the signal into another error.
        if signals.received():
            return 1
        return _explain(error)
    signals.forget()
    return status if isinstance(status, int) else 0


def _explain(error: BaseException) -> int:
    """Print why the program failed; return its exit status."""
    if isinstance(error, SystemExit):
        if isinstance(error.code, str):
            log(error.code)
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error, StandardOutputError):
        if not error.is_left:
            log(f"Error: {error}")
    elif isinstance(error, click.ClickException):
        _show(error)
        return error.exit_code
    elif isinstance(error, (click.Abort, KeyboardInterrupt)):
        log("Interrupted.")
        return 130
    elif isinstance(error, MemoryError):
        log("Error: there is not enough memory for this")
    elif isinstance(error, OSError):
        name = f"{error.filename}: " if error.filename else ""
        log(f"Error: {name}{error.strerror or error}")
    else:
        raise error
    return 1


def _show(error: click.ClickException) -> None:
    """Print the usage, which is our own text, and the message, which may quote hostile text."""
    text = io.StringIO()
    error.show(text)
    if isinstance(error, _NO_ARGUMENTS):
        sys.stderr.write(text.getvalue())
        return
    message = f"Error: {error.format_message()}"
    # Click leaves escape sequences of the message out, so that it may not end in the same one.
    sys.stderr.write(text.getvalue().partition("Error: ")[0])
    log(message)
