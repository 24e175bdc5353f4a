"""``wasmhold tags``: the tags of a repository."""

from __future__ import annotations

import click

from ..calling import JSON, Call, ClientCommand
from ..words import plain


@click.command(cls=ClientCommand, short_help="list the tags of a repository")
@click.argument("place")
@JSON
@click.pass_obj
def tags(call: Call, place: str, as_json: bool) -> None:
    """List the tags of PLACE, one on each line."""
    found = call.client.tags(call.place(place))
    if as_json:
        call.show(found)
    else:
        for tag in found:
            click.echo(plain(tag))
