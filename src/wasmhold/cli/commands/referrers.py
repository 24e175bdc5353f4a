"""``wasmhold referrers``: what refers to an artifact."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

from ...oci.limits import GRAPH_DEPTH
from ..calling import JSON, Call, ClientCommand

if TYPE_CHECKING:
    from ...client.tree import Referrer


@click.command(cls=ClientCommand, short_help="show what refers to an artifact, as a tree")
@click.argument("place")
@click.option("--artifact-type", metavar="TYPE", help="Those of this type alone.")
@click.option(
    "--depth",
    metavar="N",
    type=click.IntRange(1, GRAPH_DEPTH),
    default=GRAPH_DEPTH,
    help="So many levels.  [default: all]",
)
@JSON
@click.pass_obj
def referrers(call: Call, place: str, artifact_type: str | None, depth: int, as_json: bool) -> None:
    """Show what refers to PLACE, and what refers to that."""
    at = call.place(place)
    found = call.client.referrers(at, artifact_type, depth=depth)
    if as_json:
        call.show([_json(one) for one in found])
        return
    click.echo(str(at))
    for line in _lines(found):
        click.echo(line)


def _json(one: Referrer) -> dict[str, object]:
    return {**one.descriptor.to_json(), "referrers": [_json(below) for below in one.referrers]}


def _lines(found: Sequence[Referrer], before: str = "") -> Iterable[str]:
    for number, one in enumerate(found):
        is_last = number == len(found) - 1
        of = one.descriptor
        yield f"{before}{'└── ' if is_last else '├── '}{of.artifact_type or of.media_type}"
        inner = before + ("    " if is_last else "│   ")
        yield f"{inner}{of.digest}"
        yield from _lines(one.referrers, inner)
