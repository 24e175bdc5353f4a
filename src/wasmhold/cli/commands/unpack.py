"""``wasmhold unpack``: the files of an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ...ports.runtime import run
from ..calling import JSON, Call, ClientCommand
from ..words import amount, size

if TYPE_CHECKING:
    from ...image.layers.options import Owner, Special
    from ...image.layers.places import UnpackedImage


@click.command(cls=ClientCommand, short_help="unpack an image into a folder")
@click.argument("place")
@click.argument("folder", metavar="DIR")
@click.option(
    "--platform", metavar="OS/ARCH", help="Which image of an index.  [default: this machine's]"
)
@click.option(
    "--owner",
    type=click.Choice(["ignore", "apply"]),
    default="ignore",
    show_default=True,
    help="Let the files be yours, or those of the owners in the image, which root may.",
)
@click.option(
    "--special",
    type=click.Choice(["skip", "error", "create"]),
    default="skip",
    show_default=True,
    help="What to do with devices and pipes.",
)
@click.option("--keep-setid", is_flag=True, help="Keep setuid and setgid bits.")
@click.option("--xattrs", is_flag=True, help="Set user.* attributes and capabilities.")
@click.option("--force", is_flag=True, help="Unpack foreign layers too, as for Linux.")
@JSON
@click.pass_obj
def unpack(
    call: Call,
    place: str,
    folder: str,
    platform: str | None,
    owner: Owner,
    special: Special,
    keep_setid: bool,
    xattrs: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Unpack all layers of the image PLACE into DIR, a new or empty folder.

    Everything is verified; nothing outside of DIR is touched, whatever the image says, and when
    something is wrong DIR stays as it was.
    """
    from ...client.platforms import Platform
    from ...image.layers.options import How
    from ...image.layers.places import unpack_place

    how = How(owner=owner, special=special, keep_setid=keep_setid, xattrs=xattrs, force=force)
    wanted = None if platform is None else Platform.parse(platform)
    at = call.place(place)
    opener = call.client.opener
    # What is told as an event stands in the result, too.
    done = run(unpack_place(opener, at, folder, how, wanted, lambda _: None, call.progress))
    _say(call, done, str(at), folder, as_json=as_json)


def _say(call: Call, done: UnpackedImage, place: str, folder: str, *, as_json: bool) -> None:
    for layer in done.layers:
        for text in layer.warnings:
            call.progress.warn(text)
    files = sum(layer.counts.files + layer.counts.hard_links for layer in done.layers)
    skipped = sum(layer.counts.special_skipped for layer in done.layers)
    unpacked = sum(layer.unpacked_size for layer in done.layers)
    if as_json:
        call.show(
            {
                "reference": place,
                "digest": str(done.manifest.digest),
                "folder": folder,
                "layers": [
                    {
                        "digest": str(layer.digest),
                        "diffId": str(layer.diff_id),
                        "size": layer.size,
                        "unpacked": layer.unpacked_size,
                        "entries": layer.counts.entries,
                    }
                    for layer in done.layers
                ],
                "files": files,
                "skipped": skipped,
            }
        )
        return
    if call.is_quiet:
        click.echo(str(done.manifest.digest))
        return
    click.echo(f"Unpacked: {place}\nFolder: {folder}\nDigest: {done.manifest.digest}")
    call.note(f"{amount(len(done.layers), 'layer')}, {amount(files, 'file')}, {size(unpacked)}")
    if skipped:
        call.note(f"{amount(skipped, 'entry')} of devices and pipes left out (--special create)")
