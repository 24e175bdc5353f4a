"""``wasmhold blob get|put``: blobs as they are."""

from __future__ import annotations

import click

from ..calling import JSON, Call, ClientCommand
from ..results import say_descriptor
from ..streams import write_out


@click.group(short_help="get or put a blob as it is")
def blob() -> None:
    """Blobs: layers and configs, byte for byte."""


@blob.command(cls=ClientCommand, short_help="write a blob to a file or to standard output")
@click.argument("place")
@click.option("-o", "--output", metavar="FILE", help="Verified before it has its name.")
@click.pass_obj
def get(call: Call, place: str, output: str | None) -> None:
    """Write the blob that PLACE names by its digest.

    On standard output bytes come before they are verified: only status 0 says that all are right.
    """
    at = call.place(place)
    if output is None or output == "-":
        call.client.blob(at, write_out)
    else:
        call.client.blob_file(at, output)


@blob.command(cls=ClientCommand, short_help="put a file as a blob")
@click.argument("place")
@click.argument("file", type=click.Path(dir_okay=False))
@JSON
@click.pass_obj
def put(call: Call, place: str, file: str, as_json: bool) -> None:
    """Put FILE as a blob into the repository PLACE.

    No manifest refers to it yet: a registry may remove such a blob after some time.
    """
    found = call.client.put_blob(file, call.place(place))
    say_descriptor(call, found.descriptor, as_json=as_json)
