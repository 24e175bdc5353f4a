"""``wasmhold resolve``: the digest of what a place names."""

from __future__ import annotations

import click

from ..calling import JSON, Call, ClientCommand
from ..results import say_descriptor


@click.command(cls=ClientCommand, short_help="print the digest of a tag")
@click.argument("place")
@JSON
@click.pass_obj
def resolve(call: Call, place: str, as_json: bool) -> None:
    """Print the digest of what PLACE names."""
    say_descriptor(call, call.client.resolve(call.place(place)), as_json=as_json)
