"""``wasmhold manifest get|put``: manifests as they are."""

from __future__ import annotations

from typing import BinaryIO

import click

from ...oci.limits import MANIFEST
from ..calling import JSON, Call, ClientCommand
from ..group import WrongUse
from ..results import say_descriptor
from ..streams import write_out


@click.group(short_help="get or put a manifest as it is")
def manifest() -> None:
    """Manifests and indexes, byte for byte."""


@manifest.command(cls=ClientCommand, short_help="write a manifest to standard output")
@click.argument("place")
@click.pass_obj
def get(call: Call, place: str) -> None:
    """Write the manifest that PLACE names to standard output, byte for byte."""
    write_out(call.client.manifest(call.place(place)).content)


@manifest.command(cls=ClientCommand, short_help="store a manifest from a file")
@click.argument("place")
@click.argument("file", type=click.File("rb"))
@click.option("--media-type", metavar="TYPE", help="Where the document does not say it.")
@JSON
@click.pass_obj
def put(call: Call, place: str, file: BinaryIO, media_type: str | None, as_json: bool) -> None:
    """Store FILE (- is standard input) at PLACE as a manifest, byte for byte."""
    content = file.read(MANIFEST + 1)
    if len(content) > MANIFEST:
        raise WrongUse(f"a manifest has at most {MANIFEST} bytes")
    found = call.client.put_manifest(content, call.place(place), media_type)
    say_descriptor(call, found, as_json=as_json)
