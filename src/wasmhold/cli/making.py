"""The options of commands that make an artifact of files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import click

from ..artifact.writing import EPOCH
from ..client.push import PushFormat, What
from .group import WrongUse

F = TypeVar("F", bound=Callable[..., Any])

FILES: Final = click.argument("files", nargs=-1, required=True, metavar="FILE...")


def _options(*options: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


of_manifest: Final = _options(
    click.option(
        "--annotation",
        "annotations",
        metavar="KEY=VALUE",
        multiple=True,
        help="An annotation of the manifest.  May be given again.",
    ),
    click.option("--title", metavar="TEXT", help="The title of the one layer."),
    click.option("--no-title", is_flag=True, help="Write no title."),
)
"""Of every artifact."""

of_layers: Final = _options(
    click.option("--artifact-type", metavar="TYPE", help="What kind of artifact it is."),
    click.option("--media-type", metavar="TYPE", help="The media type of the layers."),
    of_manifest,
)
"""Of artifacts that any files make."""

FORMATS: Final = tuple(one.value for one in PushFormat if one is not PushFormat.FILES)

of_formats: Final = _options(
    click.option(
        "--created",
        metavar="TIME",
        help="The time in the config, 2024-01-02T03:04:05Z, or none; else that of "
        "SOURCE_DATE_EPOCH, else now.",
    ),
    click.option("--author", metavar="TEXT", help="The author in the config."),
    click.option("--target", metavar="WORLD", help="The world a component was built for."),
    click.option(
        "--abi",
        "abi_versions",
        metavar="VERSION",
        multiple=True,
        help="Of the format solo: a version of Envoy's interface.  May be given again.",
    ),
    click.option(
        "--root-id",
        "root_ids",
        metavar="NAME",
        multiple=True,
        help="Of the format solo: a context that the filter registers.  May be given again.",
    ),
    click.option(
        "--manifest-style",
        type=click.Choice(["oci", "wkg"]),
        default="oci",
        show_default=True,
        help="Write the JSON as the specification orders it, or in the bytes of wkg.",
    ),
    click.option("--force", is_flag=True, help="Push also what is no WebAssembly."),
)
"""Of the formats for WebAssembly."""

of_wasm: Final = _options(
    click.option(
        "--format",
        "format_",
        type=click.Choice([*FORMATS, PushFormat.FILES.value]),
        help="How WebAssembly is written; cncf for one .wasm file.",
    ),
    of_formats,
)


def what_of(given: dict[str, Any]) -> What:
    """The library's words for these options.  Raises WrongUse."""
    from ..artifact.formats.cncf import Style

    title = given["title"]
    if given["no_title"]:
        if title is not None:
            raise WrongUse("--title and --no-title do not go together")
        title = ""
    created = given.get("created")
    name = given.get("format_")
    return What(
        format=None if name is None else PushFormat(name),
        artifact_type=given.get("artifact_type"),
        media_type=given.get("media_type"),
        annotations=_pairs(given["annotations"]),
        title=title,
        created=EPOCH if created == "none" else created,
        author=given.get("author"),
        target=given.get("target"),
        style=Style(given.get("manifest_style", "oci")),
        abi_versions=given.get("abi_versions", ()),
        root_ids=given.get("root_ids", ()),
        force=given.get("force", False),
    )


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise WrongUse(f"--annotation: {text!r} is not KEY=VALUE")
        if key in found:
            raise WrongUse(f"--annotation: {key} is given twice")
        found[key] = value
    return found
