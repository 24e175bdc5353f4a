"""``wasmhold delete``: a tag, or a manifest."""

from __future__ import annotations

import click

from ..calling import Call, ClientCommand


@click.command(cls=ClientCommand, short_help="delete a tag, or a manifest by its digest")
@click.argument("place")
@click.pass_obj
def delete(call: Call, place: str) -> None:
    """Delete the tag that PLACE names, or the manifest, with all its tags, by its digest."""
    at = call.place(place)
    call.client.delete(at)
    call.note(f"deleted {at}")
