"""``wasmhold inspect``: what is it?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import click

from ...artifact.writing import WasmFormat
from ..calling import JSON, Call, ClientCommand
from ..group import CommandFailed
from ..words import plain, size

if TYPE_CHECKING:
    from ...client.inspection import Inspection


# What `convert` writes; an artifact of zlayer has the format cncf.
_WRITTEN: Final = tuple(one.value for one in WasmFormat if one is not WasmFormat.ZLAYER)


@click.command(cls=ClientCommand, short_help="say what a file or a place holds")
@click.argument("what", metavar="FILE|PLACE")
@click.option("--platform", metavar="OS/ARCH", help="Which manifest of an index.")
@click.option("--download", is_flag=True, help="Read the WebAssembly too, for what only it tells.")
@click.option(
    "--expect",
    metavar="FORMAT",
    type=click.Choice(_WRITTEN),
    help="End with 1 where the WebAssembly of PLACE has another format.",
)
@JSON
@click.pass_obj
def inspect(
    call: Call, what: str, platform: str | None, download: bool, expect: str | None, as_json: bool
) -> None:
    """Say what FILE or PLACE holds: kind, format, imports, exports, tags, referrers.

    What is a file here is taken as a file.
    """
    if expect is None and os.path.isfile(what):
        found = call.client.inspect_file(what)
    else:
        place = call.place_of_no_file(what) if expect is None else call.place(what)
        found = call.client.inspect(
            place, platform=platform, download=download, of_wasm=expect is not None
        )
    if as_json:
        call.show(found.to_json())
    else:
        for line in _lines(found):
            click.echo(line)
    if expect is not None and found.format != expect:
        has = found.format or found.kind or "no format that is known"
        raise CommandFailed(
            f"{what} is not in the format {expect}: it is {has}",
            f"`wasmhold convert {what} DESTINATION --to {expect}` writes it so",
        )


def _lines(found: Inspection) -> Iterator[str]:
    facts = {
        "Reference": found.reference,
        "Kind": found.kind,
        "Format": found.format,
        "WASI": found.wasi,
        "Platform": found.platform,
        "Digest": found.digest,
        "Size": None if found.size is None else size(found.size),
        "Media type": found.media_type,
        "Artifact type": found.artifact_type,
    }
    for name, value in facts.items():
        if value is not None:
            yield f"{name + ':':<15}{plain(value)}"
    lists = {
        "Layers": [f"{of.digest}  {size(of.size)}, {of.media_type}" for of in found.layers or ()],
        "Components": found.components or (),
        "Annotations": [f"{key}={value}" for key, value in (found.annotations or {}).items()],
        "Imports": found.imports or (),
        "Exports": found.exports or (),
        "Producers": [
            f"{key}: {', '.join(values)}" for key, values in (found.producers or {}).items()
        ],
        "Metadata": [f"{key}: {value}" for key, value in (found.metadata or {}).items()],
        "Tags": found.tags or (),
        "Referrers": [f"{of.digest}  {of.artifact_type or ''}" for of in found.referrers or ()],
    }
    for name, values in lists.items():
        if values:
            yield f"{name}:"
            yield from (f"  {plain(value)}" for value in values)
