"""``wasmhold wasm export|info|push|validate``: what zlayer calls its commands for WebAssembly.

They make the calls of ``push`` and ``inspect``.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import click

from ..calling import JSON, Call, ClientCommand
from ..group import CommandFailed, WrongUse
from ..making import FORMATS, of_formats, of_manifest, what_of
from ..results import say_pushed
from ..words import plain, size
from .push import push

if TYPE_CHECKING:
    from ...artifact import WasiVersion
    from ...client.inspection import Inspection

_ARCHIVES: Final = (".tar", ".tar.gz", ".tgz", ".tar.zst")
_BINARIES: Final = ("module", "component", "wit-package")
_WHAT: Final = click.argument("what", metavar="FILE|PLACE")


@click.group(short_help="export, push, check and describe WebAssembly")
def wasm() -> None:
    """WebAssembly by the names of zlayer's commands."""


wasm.add_command(push)


@wasm.command(cls=ClientCommand, takes_login=False, short_help="write a file as an artifact")
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--name", metavar="NAME[:TAG]", required=True, help="What it is called there.")
@click.option(
    "--to",
    metavar="DIR|FILE",
    help="An image layout, or an archive of one, .tar, .tar.gz or .tar.zst.  [default: NAME-oci]",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    default="cncf",
    show_default=True,
    help="How WebAssembly is written.",
)
@of_formats
@of_manifest
@JSON
@click.pass_obj
def export(
    call: Call, /, file: str, name: str, to: str | None, as_json: bool, **given: Any
) -> None:
    """Write FILE as an artifact into a layout or archive, beside what is there.

    The same file gives the same bytes: without --created and SOURCE_DATE_EPOCH the time is 1970,
    not now.
    """
    from ...client.place import Place, PlaceKind
    from ...client.push import time_text
    from ...oci.reference import parse_tag, split_tag

    whole, tag = split_tag(name.partition("@")[0])
    module = whole.rpartition("/")[2].removesuffix(".wasm")
    if not module:
        raise WrongUse(f"--name: {name!r} has no last part to call it by")
    where = f"{module}-oci" if to is None else to
    kind = PlaceKind.ARCHIVE if where.endswith(_ARCHIVES) else PlaceKind.LAYOUT
    what = what_of(given)
    what = replace(
        what,
        title=f"{module}.wasm" if what.title is None else what.title,
        created=what.created or time_text(0, os.environ),
    )
    place = Place(kind, where, tag=None if tag is None else parse_tag(tag, name))
    say_pushed(call, call.client.push([file], place, what), as_json=as_json)


@wasm.command(cls=ClientCommand, short_help="say whether something is WebAssembly")
@_WHAT
@JSON
@click.pass_obj
def validate(call: Call, what: str, as_json: bool) -> None:
    """Read all sections of FILE, or of the WebAssembly in PLACE, and fail for what is none."""
    found = _look(call, what)
    if as_json:
        call.show({"reference": found.reference, "valid": True, "type": found.kind})
    else:
        click.echo(f"{plain(what)} is a valid {found.kind}")


@wasm.command(cls=ClientCommand, short_help="describe WebAssembly")
@_WHAT
@JSON
@click.pass_obj
def info(call: Call, what: str, as_json: bool) -> None:
    """Say what the WebAssembly in FILE or PLACE is: its kind, version, size and target."""
    from ...artifact.binary import format_of

    found = _look(call, what)
    version = _version(found)
    facts = {
        "reference": found.reference,
        "type": found.kind,
        "wasiVersion": str(version),
        "binaryVersion": format_of(version)[0],
        "size": found.size,
        "mediaType": _media_type(found),
        "targetTriple": version.target_triple_suffix(),
    }
    if as_json:
        call.show(facts)
        return
    for name, value in (
        ("Reference", plain(str(found.reference))),
        ("Type", found.kind),
        ("WASI version", version),
        ("Binary version", facts["binaryVersion"]),
        ("Size", size(found.size or 0)),
        ("Media type", plain(str(facts["mediaType"]))),
        ("Target", facts["targetTriple"]),
    ):
        click.echo(f"{name + ':':<16}{value}")


def _look(call: Call, what: str) -> Inspection:
    """The bytes are read to their end.  Raises CommandFailed for what is none."""
    if os.path.isfile(what):
        return call.client.inspect_file(what)
    found = call.client.inspect(call.place_of_no_file(what), download=True)
    if found.kind not in _BINARIES:
        is_what = f"{what} is no one WebAssembly binary: it is {found.kind or 'several layers'}"
        raise CommandFailed(is_what, "`wasmhold inspect` says what it holds")
    return found


def _version(found: Inspection) -> WasiVersion:
    from ...artifact import WasiVersion

    return WasiVersion.Preview1 if found.kind == "module" else WasiVersion.Preview2


def _media_type(found: Inspection) -> str:
    """That of the layer; of a file the one that it would have."""
    from ...artifact.media_types import WASM, is_wasm

    layers = [layer.media_type for layer in found.layers or ()]
    return next(filter(is_wasm, layers), WASM)
