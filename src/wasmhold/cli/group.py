"""A group of commands that imports a command when it is asked for, and no earlier."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

import click

from .. import __version__


class LazyGroup(click.Group):
    def __init__(self, places: Mapping[str, str], **attributes: object) -> None:
        super().__init__(**attributes)  # type: ignore[arg-type]
        self._places = places

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self._places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = self._places.get(cmd_name)
        if place is None:
            return None
        module, _, name = place.partition(":")
        command = getattr(import_module(module), name)
        assert isinstance(command, click.Command)
        return command


class CommandFailed(click.ClickException):
    """`what` went wrong; `hint` is the next step."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.hint = hint


class WrongUse(click.UsageError):
    """The command was given what it cannot take; the hint is its help."""

    def __init__(self, what: str) -> None:
        super().__init__(what, click.get_current_context(silent=True))


def run(places: Mapping[str, str]) -> int:
    """Run the program; its exit status: 0 done, 1 failed, 2 wrong use, 130 interrupted."""
    try:
        group(places)(prog_name="wasmhold", standalone_mode=False)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "wasmhold"
        return _told(error, f"{command} --help")
    except CommandFailed as error:
        return _told(error, error.hint)
    except click.Abort:
        return 130
    return 0


def _told(error: click.ClickException, hint: str) -> int:
    click.echo(f"error: {error.format_message()}", err=True)
    click.echo(f"hint: {hint}", err=True)
    return error.exit_code


def group(places: Mapping[str, str]) -> click.Group:
    """`places`: name of a command to ``module:attribute``."""
    made = LazyGroup(
        places,
        name="wasmhold",
        help="The OCI registry and toolkit for WebAssembly.",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    return click.version_option(__version__, prog_name="wasmhold", message="%(prog)s %(version)s")(
        made
    )
