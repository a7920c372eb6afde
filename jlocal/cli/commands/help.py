"""`jlocal help`: show the help of a command, as --help does."""

from __future__ import annotations

import click

from jlocal.cli.suggest import no_such_command


def _complete(context: click.Context, _argument: click.Parameter, typed: str) -> list[str]:
    """Complete the names of commands."""
    above = context.find_root()
    assert isinstance(above.command, click.Group)
    return [name for name in above.command.list_commands(above) if name.startswith(typed)]


@click.command("help", hidden=True)
@click.argument("names", nargs=-1, metavar="[COMMAND]...", shell_complete=_complete)
@click.pass_context
def command(context: click.Context, names: tuple[str, ...]) -> None:
    """Explain a command: `jlocal help search` is `jlocal search --help`."""
    above = context.find_root()
    for place, name in enumerate(names):
        group = above.command
        subcommand = group.get_command(above, name) if isinstance(group, click.Group) else None
        if subcommand is None and isinstance(group, click.Group):
            raise no_such_command(group, above, names[place:])
        if subcommand is None:
            raise click.UsageError(f"{above.command_path} has no commands of its own", above)
        above = click.Context(subcommand, info_name=subcommand.name, parent=above)
    click.echo(above.get_help())
