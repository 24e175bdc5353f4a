"""``wasmhold pack``: files become a layer, or an image of one layer."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from ...ports.runtime import run
from ..calling import JSON, Call, ClientCommand
from ..results import three_lines

if TYPE_CHECKING:
    from ...image.layers.pack import PackedLayer
    from ...oci.descriptor import Descriptor


@click.command(cls=ClientCommand, short_help="pack files as a layer of an image")
@click.argument("files", nargs=-1, required=True, metavar="DIR|FILE...")
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE|PLACE",
    help="A file whose name ends with .tar, .tar.gz or .tar.zst, or a place for an image.",
)
@click.option(
    "--compression",
    type=click.Choice(["gzip", "zstd", "none"]),
    help="As the name of the file says, else gzip.",
)
@click.option("--level", metavar="N", type=int, help="Of the compression.")
@click.option("--platform", metavar="OS/ARCH", help="Of the image.  [default: this machine's]")
@JSON
@click.pass_obj
def pack(
    call: Call,
    files: tuple[str, ...],
    output: str,
    compression: str | None,
    level: int | None,
    platform: str | None,
    as_json: bool,
) -> None:
    """Pack what is in DIR, or each FILE under its name, as a layer.

    The same files give the same bytes: owners are 0, names are in order, and times are 1970 or
    what SOURCE_DATE_EPOCH says.
    """
    from ...client.platforms import Platform
    from ...image.layers.kinds import Compression, compression_of_name
    from ...image.layers.pack import epoch, pack_layer
    from ...image.layers.places import push_layer

    opener = call.client.opener
    wanted = None if platform is None else Platform.parse(platform)
    is_folder = len(files) == 1 and os.path.isdir(files[0])
    named = compression_of_name(output)
    # A place of a kind that lies in files says so at its start.
    is_file = named is not None and ":" not in output
    at = None if is_file else call.place(output)
    packed = run(
        pack_layer(
            opener.runtime,
            files[0] if is_folder else ".",
            None if is_folder else files,
            compression=compression or (named if is_file else None) or Compression.GZIP,
            level=level,
            mtime=epoch(os.environ),
            output=output if is_file else None,
        )
    )
    if at is None:
        _say(call, "Packed", output, packed, packed.descriptor, as_json=as_json)
        return
    try:
        manifest = run(push_layer(opener, packed, at, wanted, call.progress))
    finally:
        os.unlink(packed.path)
    there = at if at.tag else at.at(manifest.digest)
    _say(call, "Pushed", str(there), packed, manifest, as_json=as_json)


def _say(
    call: Call, verb: str, where: str, packed: PackedLayer, of: Descriptor, *, as_json: bool
) -> None:
    if as_json:
        call.show(
            {
                "reference": where,
                "digest": str(of.digest),
                "size": packed.descriptor.size,
                "mediaType": of.media_type,
                "diffId": str(packed.diff_id),
                "layers": [packed.descriptor.to_json()],
            }
        )
    else:
        three_lines(call, verb, where, packed.descriptor.size, of.digest)
