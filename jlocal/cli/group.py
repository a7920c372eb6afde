"""Commands and groups of commands, whose errors say what to type instead."""

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


class Command(click.Command):
    """A command whose error for an argument that it does not take names the option for it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the options and arguments."""
        ctx.allow_extra_args = True
        left = super().parse_args(ctx, args)
        if left and not ctx.resilient_parsing:
            from jlocal.cli.suggest import stray_arguments

            raise stray_arguments(ctx, left)
        return left
