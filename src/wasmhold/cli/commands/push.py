"""``wasmhold push``: files become an artifact in a registry, layout, archive or store."""

from __future__ import annotations

from typing import Any

import click

from ..calling import JSON, Call, ClientCommand
from ..making import FILES, of_layers, of_wasm, what_of
from ..results import say_pushed


@click.command(cls=ClientCommand, short_help="push files as an artifact")
@FILES
@click.argument("place")
@of_wasm
@of_layers
@JSON
@click.pass_obj
def push(call: Call, /, files: tuple[str, ...], place: str, as_json: bool, **given: Any) -> None:
    """Push FILE... to PLACE.

    One .wasm file becomes a CNCF Wasm artifact; other files, or several, become layers with their
    names as titles.  Without a tag it is pushed by its digest alone.
    """
    pushed = call.client.push(files, call.place(place), what_of(given))
    say_pushed(call, pushed, as_json=as_json)
