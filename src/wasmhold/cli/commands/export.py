"""``wasmhold export``: an image as a file or folder that other tools read."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Literal

import click

from ...ports.runtime import run
from ..calling import JSON, Call, ClientCommand
from ..words import amount, size

if TYPE_CHECKING:
    from ...image.exporting import ExportInfo


@click.command(cls=ClientCommand, short_help="write an image as a layout or docker archive")
@click.argument("place")
@click.argument("output", metavar="FILE|DIR/|-")
@click.option(
    "--format",
    "form",
    type=click.Choice(["oci", "docker"]),
    default="oci",
    show_default=True,
    help="An image layout, or what `docker load` takes, which holds one image.",
)
@click.option(
    "--compression",
    type=click.Choice(["gzip", "zstd", "none"]),
    help="Of an archive; else as its name ends.",
)
@click.option(
    "--platform",
    "platforms",
    metavar="OS/ARCH",
    multiple=True,
    help="Of an index this manifest; given again, a new index of several.",
)
@click.option("-r", "--recursive", is_flag=True, help="Also what refers to it, and to that.")
@click.option("--foreign", is_flag=True, help="Also layers that are not to be distributed.")
@JSON
@click.pass_obj
def export(
    call: Call,
    place: str,
    output: str,
    form: Literal["oci", "docker"],
    compression: Literal["gzip", "zstd", "none"] | None,
    platforms: tuple[str, ...],
    recursive: bool,
    foreign: bool,
    as_json: bool,
) -> None:
    """Write the image PLACE as FILE, as the layout DIR/, or to standard output.

    FILE is an archive: .tar, .tar.gz or .tar.zst; it has its name when all of it is there, and
    replaces what had it.  The same image gives the same bytes.
    """
    from ...image.exporting import How
    from ...image.exporting import export as export_

    how = How(
        form=form,
        compression=compression,
        platforms=platforms or "all",
        referrers=recursive,
        foreign=foreign,
        listener=call.progress,
    )
    is_stream = output == "-"
    target = sys.stdout.buffer if is_stream else output
    info = run(export_(call.client.opener, call.place(place), None, target, how))
    if info.skipped:
        call.progress.warn(
            f"what belongs elsewhere, {amount(len(info.skipped), 'layer')}, was left out: "
            "--foreign takes what of it is here"
        )
    if not is_stream:
        _say(call, info, as_json=as_json)


def _say(call: Call, info: ExportInfo, *, as_json: bool) -> None:
    if as_json:
        call.show(
            {
                "root": info.root.to_json(),
                "path": info.path,
                "size": info.size,
                "layers": info.layers,
                "skipped": [one.to_json() for one in info.skipped],
            }
        )
    elif call.is_quiet:
        click.echo(str(info.digest))
    else:
        click.echo(f"Exported: {info.path}\nSize: {info.size}\nDigest: {info.digest}")
        call.note(f"{amount(info.layers, 'layer')}, {size(info.size)}")
