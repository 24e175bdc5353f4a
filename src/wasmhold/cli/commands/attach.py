"""``wasmhold attach``: an artifact that refers to another one."""

from __future__ import annotations

from typing import Any

import click

from ..calling import JSON, Call, ClientCommand
from ..making import FILES, of_layers, what_of
from ..results import say_pushed


@click.command(cls=ClientCommand, short_help="push an artifact that refers to another")
@FILES
@click.argument("place")
@of_layers
@JSON
@click.pass_obj
def attach(call: Call, /, files: tuple[str, ...], place: str, as_json: bool, **given: Any) -> None:
    """Push FILE... as an artifact whose subject is what PLACE names: a signature, an SBOM."""
    pushed = call.client.attach(files, call.place(place), what_of(given))
    say_pushed(call, pushed, as_json=as_json)
