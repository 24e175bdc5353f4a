"""``wasmhold import``: images that other tools have saved, to where they belong."""

from __future__ import annotations

import sys

import click

from ...client.sizes import parse_size
from ...ports.runtime import run
from ..calling import JSON, Call, ClientCommand
from ..group import WrongUse


@click.command("import", cls=ClientCommand, short_help="take in what other tools have saved")
@click.argument("source", metavar="FILE|DIR|URL|-")
@click.argument("destination", metavar="HOST|store:DIR|PLACE")
@click.option("--name", metavar="NAME[:TAG]", help="The image's name, instead of its own.")
@click.option("--select", metavar="NAME:TAG|DIGEST", help="Of several images this one.")
@click.option("--platform", metavar="OS/ARCH", help="Of an index only this manifest.")
@click.option(
    "--max-size",
    metavar="SIZE",
    default="64GiB",
    show_default=True,
    help="An archive may have so many bytes, without compression.",
)
@JSON
@click.pass_obj
def import_(
    call: Call,
    source: str,
    destination: str,
    name: str | None,
    select: str | None,
    platform: str | None,
    max_size: str,
    as_json: bool,
) -> None:
    """Import the images that are saved in FILE, DIR or what is behind URL, all of it verified.

    Layouts and docker archives, plain or compressed.  Below a HOST or in a store:DIR images have
    the names that the archive gives them; in a PLACE all of them are tags of one repository.
    """
    from ...client.places.archive import ImportLimits
    from ...client.platforms import Platform
    from ...image.importing import How
    from ...image.importing import import_ as take_in

    if select is not None and platform is not None:
        raise WrongUse("--select and --platform: want one of them")
    try:
        bounds = ImportLimits(size=parse_size(max_size))
    except ValueError as error:
        raise WrongUse(f"--max-size: {error}") from None
    how = How(
        name=name,
        select=select if platform is None else Platform.parse(platform),
        limits=bounds,
        listener=call.progress,
    )
    given = sys.stdin.buffer if source == "-" else source
    found = run(take_in(call.client.opener, destination, given, how))
    if as_json:
        call.show(
            [
                {
                    "digest": str(one.digest),
                    "mediaType": one.root.media_type,
                    "name": one.name,
                    "tags": [*one.tags],
                    "layers": one.layers,
                }
                for one in found
            ]
        )
        return
    for one in found:
        if call.is_quiet:
            click.echo(str(one.digest))
        else:
            names = ", ".join(f"{one.name}:{tag}" for tag in one.tags) or one.name
            click.echo(f"Imported: {names}\nDigest: {one.digest}")
