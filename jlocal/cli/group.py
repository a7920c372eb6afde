"""Groups of commands, which suggest the nearest name for an unknown command."""

from __future__ import annotations

import click


class Group(click.Group):
    """A group whose error for an unknown command names the nearest one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is named first."""
        if args[0].startswith("-") or self.get_command(ctx, args[0]):
            return super().resolve_command(ctx, args)
        from jlocal.cli.suggest import no_such_command

        raise no_such_command(self, ctx, args)
