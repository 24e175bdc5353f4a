"""``wasmhold inspect``: what is it?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from ..calling import JSON, Call, ClientCommand
from ..words import plain, size

if TYPE_CHECKING:
    from ...client.inspection import Inspection


@click.command(cls=ClientCommand, short_help="say what a file or a place holds")
@click.argument("what", metavar="FILE|PLACE")
@click.option("--platform", metavar="OS/ARCH", help="Which manifest of an index.")
@click.option("--download", is_flag=True, help="Read the WebAssembly too, for what only it tells.")
@JSON
@click.pass_obj
def inspect(call: Call, what: str, platform: str | None, download: bool, as_json: bool) -> None:
    """Say what FILE or PLACE holds: kind, format, imports, exports, tags, referrers.

    What is a file here is taken as a file.
    """
    if os.path.isfile(what):
        found = call.client.inspect_file(what)
    else:
        found = call.client.inspect(call.place(what), platform=platform, download=download)
    if as_json:
        call.show(found.to_json())
    else:
        for line in _lines(found):
            click.echo(line)


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
