"""``wasmhold pull``: the WebAssembly of an artifact, or its files."""

from __future__ import annotations

import os

import click

from ...client.pull import Which, untitled
from ..calling import JSON, Call, ClientCommand
from ..group import WrongUse
from ..results import say_pulled


@click.command(cls=ClientCommand, short_help="pull an artifact into a file or folder")
@click.argument("place")
@click.option(
    "-o",
    "--output",
    metavar="FILE|DIR",
    help="A file for the WebAssembly, or a folder (or NAME/) for all layers with a title.  "
    "[default: NAME.wasm here]",
)
@click.option(
    "--out-dir", metavar="DIR", help="The same as -o DIR/: of a Spin application, all of it."
)
@click.option("--platform", metavar="OS/ARCH", help="Which manifest of an index.")
@click.option("--layer", metavar="N", type=click.IntRange(min=0), help="Which Wasm layer.")
@click.option("--title", metavar="TEXT", help="Which Wasm layer, by its title.")
@click.option(
    "--allow-extra-layers", is_flag=True, help="Take the Wasm layer of a CNCF artifact with others."
)
@JSON
@click.pass_obj
def pull(
    call: Call,
    place: str,
    output: str | None,
    out_dir: str | None,
    platform: str | None,
    layer: int | None,
    title: str | None,
    allow_extra_layers: bool,
    as_json: bool,
) -> None:
    """Pull what PLACE names.

    Everything is verified before it gets its name.  A title never leads out of the folder.
    """
    at = call.place(place)
    which = Which(platform, layer, title, allow_extra_layers)
    if out_dir is not None:
        if output is not None:
            raise WrongUse("--output and --out-dir do not go together")
        output = os.path.join(out_dir, "")
    elif output is None:
        output = untitled(at.name)
    if output.endswith("/") or os.path.isdir(output):
        pulled = call.client.pull_folder(at, output, which)
    else:
        pulled = call.client.pull(at, output, which)
    say_pulled(call, pulled, str(at), as_json=as_json)
    for path in pulled.files:
        call.note(f"wrote {path}")
