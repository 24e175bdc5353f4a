"""What all faces share: another program's command line, and its exit status."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from ..group import CommandFailed


class Face(click.Group):
    """The command lines of another program: whatever goes wrong ends with 1.

    Without a command it shows its usage and ends with 0.
    """

    def __init__(self, name: str | None, **attributes: Any) -> None:
        super().__init__(name, **attributes)
        self.invoke_without_command, self.no_args_is_help = True, False

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        with always_one(f"wasmhold {self.name} --help"):
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with always_one(f"{ctx.command_path} --help"):
            return super().invoke(ctx)


@contextmanager
def always_one(help_: str) -> Iterator[None]:
    """Every error inside ends the program with 1; `help_` is the hint where the error has none."""
    try:
        yield
    except click.UsageError as error:
        hint = f"{error.ctx.command_path} --help" if error.ctx else help_
        raise CommandFailed(error.format_message(), hint, status=1) from error
    except CommandFailed as error:
        error.status = 1
        raise


@click.command("help", short_help="show how a command is used")
@click.argument("command", required=False)
@click.pass_context
def help_(ctx: click.Context, command: str | None) -> None:
    """Show how COMMAND is used."""
    above = ctx.parent
    assert above is not None
    assert isinstance(above.command, click.Group)
    if command is None:
        click.echo(above.get_help())
        return
    found = above.command.get_command(above, command)
    if found is None:
        raise click.UsageError(f"No such command {command!r}.", ctx)
    click.echo(found.get_help(click.Context(found, above, command)))
