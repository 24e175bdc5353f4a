"""``wasmhold doctor``: what is wrong between us and a place."""

from __future__ import annotations

import click

from ..calling import JSON, Call, ClientCommand
from ..group import CommandFailed


@click.command(cls=ClientCommand, short_help="say what is wrong between us and a place")
@click.argument("place", required=False)
@JSON
@click.pass_obj
def doctor(call: Call, place: str | None, as_json: bool) -> None:
    """Look at the set-up here, and, step by step, at what is between us and PLACE.

    Name, connection, registry, login, repository, content: the first step that fails is what is
    wrong.  Nothing is written.
    """
    found = call.client.diagnose(None if place is None else call.place(place))
    if as_json:
        call.show(
            [
                {"step": one.step, "ok": one.is_well, "told": one.told, "hint": one.hint}
                for one in found
            ]
        )
    else:
        for one in found:
            click.echo(f"{'ok' if one.is_well else 'WRONG':<6} {one.step + ':':<12} {one.told}")
        if not found:
            click.echo("ok     no file with logins: what is public can be read")
    wrong = [one for one in found if not one.is_well]
    if wrong:
        raise CommandFailed(f"{wrong[0].step}: {wrong[0].told}", wrong[0].hint or "")
