"""``wasmhold logout``: forget a login."""

from __future__ import annotations

import click

from ..calling import Call, ClientCommand


@click.command(cls=ClientCommand, short_help="log out of a registry", takes_login=False)
@click.argument("host")
@click.pass_obj
def logout(call: Call, host: str) -> None:
    """Forget the logins to the registry HOST, wherever one is kept."""
    places = call.client.logout(host)
    call.note(f"forgotten in {', '.join(places)}" if places else f"there was no login to {host}")
