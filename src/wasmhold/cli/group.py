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
