"""``wasmhold wasm-to-oci``: the command line of wasm-to-oci 0.1.2, and its format.

Source: engineerd/wasm-to-oci, cmd/; what is better here stands in docs/requirements/wasm-to-oci.md.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import click

from ... import __version__
from ...client.pull import Which
from ...client.push import PushFormat, What
from ...client.settings import EVERY_HOST, Settings
from ...oci.descriptor import Descriptor
from ...oci.digest import Digest
from ..calling import JSON, Call, ClientCommand
from ..commands.completion import completion
from ..group import CommandFailed, WrongUse
from ..progress import Progress
from .face import Face, help_

_LEVELS: Final = ("panic", "fatal", "error", "warn", "warning", "info", "debug", "trace")
_QUIET: Final = ("panic", "fatal", "error")
_DURATION: Final = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?(?:ns|us|µs|ms|s|m|h))+")
_PART: Final = re.compile(r"([0-9.]+)(ns|us|µs|ms|s|m|h)")
_SECONDS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}


def _level(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and value not in _LEVELS:
        raise WrongUse(f'unknown log level: "{value}"')
    return value


def parse_duration(text: str) -> float:
    """Seconds of ``5s``, ``1m30s`` or a plain number.  Raises ValueError."""
    if text.isascii() and text.isdecimal() and len(text) < 10:
        return float(text)
    if _DURATION.fullmatch(text) is None:
        raise ValueError(f"{text!r} is no time, for example 5s or 1m30s")
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))


def _timeout(ctx: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    try:
        return None if value is None else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, parameter) from None


def _persistent() -> list[click.Parameter]:
    """Flags that may stand before and behind the command."""
    return [
        click.Option(
            ["--log"], metavar="LEVEL", callback=_level, help="What is told: error, info, debug."
        ),
        click.Option(
            ["-t", "--timeout"],
            metavar="DURATION",
            callback=_timeout,
            help="For connecting, and for the next bytes; 0 for no bound.  [default: 30s]",
        ),
        click.Option(["--tlscacert"], metavar="FILE", help="As --ca-file."),
        click.Option(["--use-http"], is_flag=True, default=None, help="As --plain-http."),
        click.Option(["--server"], metavar="URL", help="Taken and ignored."),
        click.Option(["-d", "--dir"], metavar="DIR", help="Taken and ignored."),
    ]


class _Command(ClientCommand):
    """A command with the persistent flags of the face."""

    def __init__(self, name: str | None, **attributes: Any) -> None:
        persistent = _persistent()
        self._persistent = [one.name for one in persistent if one.name is not None]
        own = attributes.pop("params", None) or []
        super().__init__(name, params=[*own, *persistent], **attributes)

    def settings(
        self, flags: Mapping[str, Any], ctx: click.Context, progress: Progress
    ) -> Settings:
        above = ctx.parent.params if ctx.parent is not None else {}
        own = {name: ctx.params.pop(name) for name in self._persistent}
        given = {name: above.get(name) if value is None else value for name, value in own.items()}
        progress.level(is_told=given["log"] not in _QUIET)
        settings = super().settings(flags, ctx, progress)
        if given["server"] is not None:
            progress.warn("--server is ignored: trust servers of Notary v1 are not supported")
        if given["dir"] is not None:
            progress.warn("--dir is ignored: there are no trust folders")
        insecure = settings.insecure or bool(above.get("insecure"))
        if insecure:
            progress.warn("--insecure: certificates are not checked")
        seconds = 30.0 if given["timeout"] is None else given["timeout"]
        return replace(
            settings,
            insecure=insecure,
            ca_file=settings.ca_file or given["tlscacert"],
            plain_http=EVERY_HOST if given["use_http"] else settings.plain_http,
            connect_timeout_s=seconds or None,
            read_timeout_s=seconds or None,
        )


_SIGN: Final = click.option("--sign", is_flag=True, help="Not there yet: it is refused.")


def _refuse_to_sign(sign: bool, verb: str) -> None:
    if sign:
        raise CommandFailed(
            f"--sign: signing is not there yet, and nothing was {verb}", "leave --sign away"
        )


@click.group(
    "wasm-to-oci",
    cls=Face,
    short_help="the command line of wasm-to-oci",
    params=[
        *_persistent(),
        click.Option(["--insecure"], is_flag=True, help="Trust any certificate."),
    ],
)
@click.version_option(__version__, prog_name="wasm-to-oci (wasmhold)")
@click.pass_context
def wasm_to_oci(ctx: click.Context, /, **flags: object) -> None:
    """Push and pull WebAssembly in the format of wasm-to-oci."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@wasm_to_oci.command(cls=_Command, short_help="push a module to a registry")
@click.argument("module")
@click.argument("reference")
@click.option("--title", metavar="TEXT", help="The layer's title, instead of the file's name.")
@click.option("--no-title", is_flag=True, help="Write no title.")
@click.option("--force", is_flag=True, help="Push also what is no WebAssembly.")
@click.option("--default-tag", is_flag=True, help="Where there is no tag, take latest.")
@_SIGN
@JSON
@click.pass_obj
def push(
    call: Call,
    module: str,
    reference: str,
    title: str | None,
    no_title: bool,
    force: bool,
    default_tag: bool,
    sign: bool,
    as_json: bool,
) -> None:
    """Push the file MODULE to REFERENCE."""
    _refuse_to_sign(sign, "pushed")
    at = call.place(reference)
    if default_tag and at.reference is None:
        at = replace(at, tag="latest")
    what = What(format=PushFormat.WASM_TO_OCI, title="" if no_title else title, force=force)
    pushed = call.client.push([module], at, what)
    said = reference if at.tag and not default_tag else str(pushed.place)
    (layer,) = pushed.layers
    digests = {"Digest": pushed.manifest.digest, "Layer": layer.digest}
    _say(call, "Pushed", said, pushed.manifest, layer, "wasm-to-oci", digests, as_json=as_json)


@wasm_to_oci.command(cls=_Command, short_help="pull a module from a registry")
@click.argument("reference")
@click.option(
    "-o", "--out", metavar="FILE", default="module.wasm", show_default=True, help="- is the output."
)
@click.option("--platform", metavar="OS/ARCH", help="Which manifest of an index.")
@click.option("--layer", metavar="N", type=click.IntRange(min=0), help="Which Wasm layer.")
@click.option("--title", metavar="TEXT", help="Which Wasm layer, by its title.")
@_SIGN
@JSON
@click.pass_obj
def pull(
    call: Call,
    reference: str,
    out: str,
    platform: str | None,
    layer: int | None,
    title: str | None,
    sign: bool,
    as_json: bool,
) -> None:
    """Pull the module of REFERENCE into a file."""
    _refuse_to_sign(sign, "pulled")
    at, which = call.place(reference), Which(platform, layer, title, extra_layers=True)
    if out == "-":
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "module.wasm")
            pulled = call.client.pull(at, path, which)
            with open(path, "rb") as file:
                while piece := file.read(1 << 20):
                    sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
    else:
        pulled = call.client.pull(at, out, which, mode=0o755)
    for text in pulled.warnings:
        call.progress.warn(text)
    layer_ = pulled.layers[-1]
    digests = {"Digest": layer_.digest, "Manifest": pulled.manifest.digest}
    kind = pulled.kind.format.value
    _say(
        call,
        "Pulled",
        reference,
        pulled.manifest,
        layer_,
        kind,
        digests,
        as_json=as_json,
        err=out == "-",
    )


def _say(
    call: Call,
    verb: str,
    reference: str,
    manifest: Descriptor,
    layer: Descriptor,
    kind: str,
    digests: Mapping[str, Digest],
    *,
    as_json: bool,
    err: bool = False,
) -> None:
    if as_json:
        call.show(
            {
                "reference": reference,
                "manifestDigest": str(manifest.digest),
                "layerDigest": str(layer.digest),
                "size": layer.size,
                "mediaType": layer.media_type,
                "artifactKind": kind,
            },
            err=err,
        )
    elif call.is_quiet:
        click.echo(str(digests["Digest"]), err=err)
    else:
        click.echo(f"{verb}: {reference}", err=err)
        click.echo(f"Size: {layer.size}", err=err)
        for name, digest in digests.items():
            click.echo(f"{name}: {digest}", err=err)


wasm_to_oci.add_command(help_)
wasm_to_oci.add_command(completion)
