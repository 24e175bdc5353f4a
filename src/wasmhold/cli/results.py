"""What commands say when they are done, in the forms that scripts read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..oci.descriptor import Descriptor
from ..oci.digest import Digest
from .calling import Call

if TYPE_CHECKING:
    from ..client.pull import Pulled
    from ..client.push import Pushed


def say_pushed(call: Call, pushed: Pushed, *, as_json: bool) -> None:
    for text in pushed.warnings:
        call.progress.warn(text)
    if as_json:
        call.show(
            {
                "reference": str(pushed.place),
                "digest": str(pushed.manifest.digest),
                "size": pushed.size,
                "mediaType": pushed.manifest.media_type,
                "layers": [layer.to_json() for layer in pushed.layers],
            }
        )
    else:
        three_lines(call, "Pushed", str(pushed.place), pushed.size, pushed.manifest.digest)


def say_pulled(call: Call, pulled: Pulled, place: str, *, as_json: bool) -> None:
    for text in pulled.warnings:
        call.progress.warn(text)
    if as_json:
        call.show(
            {
                "reference": place,
                "digest": str(pulled.manifest.digest),
                "size": pulled.size,
                "mediaType": pulled.manifest.media_type,
                "kind": pulled.kind.format.value,
                "layers": [layer.to_json() for layer in pulled.layers],
                "files": [*pulled.files],
            }
        )
    else:
        three_lines(call, "Pulled", place, pulled.size, pulled.manifest.digest)


def three_lines(call: Call, verb: str, place: str, size: int, digest: Digest) -> None:
    """As wasm-to-oci says it; with --quiet the digest alone."""
    if call.is_quiet:
        click.echo(str(digest))
        return
    click.echo(f"{verb}: {place}")
    click.echo(f"Size: {size}")
    click.echo(f"Digest: {digest}")


def say_descriptor(call: Call, found: Descriptor, *, as_json: bool) -> None:
    """The digest, or the whole descriptor."""
    if as_json:
        call.show(found.to_json())
    else:
        click.echo(str(found.digest))
