"""A group of commands that imports a command when it is asked for, and no earlier."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, TypeAlias

import click

from .. import __version__
from .words import plain

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Commands: TypeAlias = Mapping[str, tuple[str, str]]  # name to ``module:attribute``, short help


class LazyGroup(click.Group):
    def __init__(self, commands: Commands, **attributes: object) -> None:
        super().__init__(**attributes)  # type: ignore[arg-type]
        self._commands = commands

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self._commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = self._commands.get(cmd_name)
        if found is None:
            return None
        module, _, name = found[0].partition(":")
        command = getattr(import_module(f".{module}", __package__), name)
        assert isinstance(command, click.Command)
        if not gc.isenabled():
            gc.freeze()
            gc.enable()
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            # click itself looks for similar names among the commands that are imported: none.
            if near := get_close_matches(args[0], self._commands, 1):
                raise click.UsageError(f"{error.message} Did you mean {near[0]!r}?", ctx) from None
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(self._commands.items())])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        found = sorted(name for name in self._commands if name.startswith(incomplete))
        items = [CompletionItem(name, help=self._commands[name][1]) for name in found]
        return [*items, *click.Command.shell_complete(self, ctx, incomplete)]


class CommandFailed(click.ClickException):
    """`what` went wrong, because of `cause`; `hint` is the next step."""

    def __init__(
        self, what: str, hint: str, *, cause: str | None = None, status: int | None = None
    ) -> None:
        super().__init__(what)
        self.hint, self.cause = hint, cause
        self.status = self.exit_code if status is None else status


class WrongUse(click.UsageError):
    """The command was given what it cannot take; the hint is its help."""

    def __init__(self, what: str) -> None:
        super().__init__(what, click.get_current_context(silent=True))


def run(commands: Commands) -> int:
    """Run the program; its exit status.

    0 done, 1 failed, 2 wrong use, 3 not found, 4 not authorised, 5 not verified, 130 interrupted.
    """
    try:
        group(commands)(prog_name="wasmhold", standalone_mode=False)
    except click.UsageError as error:
        if error.ctx is not None and error.message == error.ctx.get_help():  # a group alone
            click.echo(error.message, err=True)
            return error.exit_code
        command = error.ctx.command_path if error.ctx else "wasmhold"
        return _told(error, f"{command} --help")
    except CommandFailed as error:
        return _told(error, error.hint, error.cause, error.status)
    except click.Abort:
        return 130
    except BrokenPipeError:
        # Whoever read our output has enough of it: nor may Python's last flush complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _told(
    error: click.ClickException, hint: str, cause: str | None = None, status: int | None = None
) -> int:
    for name, text in (("error", error.format_message()), ("cause", cause), ("hint", hint)):
        if text is not None:
            # Lines are ours, and so are the tabs before choices; what stands in them may be a
            # stranger's.
            lines = f"{name}: {text}".splitlines()
            click.echo("\n".join(plain(line.replace("\t", "  ")) for line in lines), err=True)
    return error.exit_code if status is None else status


def group(commands: Commands) -> click.Group:
    """The whole program, as click has it."""
    made = LazyGroup(
        commands,
        name="wasmhold",
        help="The OCI registry and toolkit for WebAssembly.",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    return click.version_option(__version__, prog_name="wasmhold", message="%(prog)s %(version)s")(
        made
    )
