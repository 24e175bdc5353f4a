"""``wasmhold convert``: the WebAssembly of an artifact in another format."""

from __future__ import annotations

from typing import Any

import click

from ...client.pull import Which
from ..calling import JSON, Call, ClientCommand
from ..making import FORMATS, of_formats, of_manifest, what_of
from ..results import say_pushed


@click.command(cls=ClientCommand, short_help="push WebAssembly again in another format")
@click.argument("source")
@click.argument("destination")
@click.option(
    "--to", "format_", required=True, type=click.Choice(FORMATS), help="How it is written."
)
@click.option("--platform", metavar="OS/ARCH", help="Which manifest of an index.")
@click.option("--layer", metavar="N", type=click.IntRange(min=0), help="Which Wasm layer.")
@click.option(
    "--allow-extra-layers", is_flag=True, help="Take the Wasm layer of a CNCF artifact with others."
)
@of_manifest
@of_formats
@JSON
@click.pass_obj
def convert(
    call: Call,
    /,
    source: str,
    destination: str,
    platform: str | None,
    layer: int | None,
    allow_extra_layers: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Push the WebAssembly of SOURCE to DESTINATION in another format.

    Its bytes and annotations stay, and annotations are added that name SOURCE as the base.  A
    destination without a tag takes that of the source.
    """
    which = Which(platform, layer, extra_layers=allow_extra_layers)
    start, end = call.place(source), call.place(destination)
    call.refuse_one_login(start, end)
    say_pushed(call, call.client.convert(start, end, what_of(given), which), as_json=as_json)
