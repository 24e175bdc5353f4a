"""``wasmhold repos``: the repositories of a registry."""

from __future__ import annotations

import click

from ..calling import JSON, Call, ClientCommand
from ..words import plain


@click.command(cls=ClientCommand, short_help="list the repositories of a registry")
@click.argument("host", metavar="HOST|store:DIR")
@JSON
@click.pass_obj
def repos(call: Call, host: str, as_json: bool) -> None:
    """List the repositories of the registry HOST, or of DIR, one on each line."""
    found = call.client.repositories(host)
    if as_json:
        call.show(found)
    else:
        for name in found:
            click.echo(plain(name))
