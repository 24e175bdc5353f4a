"""``wasmhold tag``: further tags for what is there."""

from __future__ import annotations

import click

from ...oci.reference import parse_tag
from ..calling import JSON, Call, ClientCommand
from ..results import say_descriptor


@click.command(cls=ClientCommand, short_help="point tags at what is there")
@click.argument("place")
@click.argument("tags", nargs=-1, required=True, metavar="TAG...")
@JSON
@click.pass_obj
def tag(call: Call, place: str, tags: tuple[str, ...], as_json: bool) -> None:
    """Point TAG... of the same repository at what PLACE names."""
    found = call.client.tag(call.place(place), [parse_tag(one) for one in tags])
    say_descriptor(call, found, as_json=as_json)
