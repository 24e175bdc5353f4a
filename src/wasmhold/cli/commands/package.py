"""``wasmhold package``: packages by their names, from the registry that a domain names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..calling import JSON, Call, ClientCommand
from ..releases import lines_of_release, lines_of_versions, new_name, note_prerelease

if TYPE_CHECKING:
    from ...client.packages import Release

_FOLDER = click.option(
    "--folder",
    metavar="DIR",
    help="Packages lie in DIR, as NAMESPACE/NAME/VERSION.wasm; no registry is asked.",
)
_PRE = click.option("--pre", is_flag=True, help="The newest may be a prerelease.")


@click.group(short_help="list, show and get packages by their names")
def package() -> None:
    """Packages: NAMESPACE:NAME, and a release NAMESPACE:NAME@VERSION.

    Where one lives is said by --registry, a domain, else by its namespace: wasi and ba are known.
    """


@package.command(cls=ClientCommand, short_help="list the versions of a package")
@click.argument("name")
@_FOLDER
@JSON
@click.pass_obj
def versions(call: Call, name: str, folder: str | None, as_json: bool) -> None:
    """List the versions of the package NAME, the oldest first."""
    found = call.client.versions(name, folder=folder)
    if as_json:
        call.show({"package": str(found.package), "versions": [str(one) for one in found.all]})
    else:
        for line in lines_of_versions(found):
            click.echo(line)


@package.command(cls=ClientCommand, short_help="show a release of a package")
@click.argument("spec")
@_FOLDER
@_PRE
@JSON
@click.pass_obj
def show(call: Call, spec: str, folder: str | None, pre: bool, as_json: bool) -> None:
    """Show the release SPEC, without a version the newest."""
    release = call.client.release(spec, folder=folder, prereleases=pre)
    if as_json:
        call.show(_document(release))
    else:
        for line in lines_of_release(release):
            click.echo(line)


@package.command(cls=ClientCommand, short_help="get a release of a package as a file")
@click.argument("spec")
@click.option(
    "-o", "--output", metavar="FILE", help="[default: NAMESPACE_NAME@VERSION.wasm, where new]"
)
@_FOLDER
@_PRE
@JSON
@click.pass_obj
def get(
    call: Call, spec: str, output: str | None, folder: str | None, pre: bool, as_json: bool
) -> None:
    """Get the release SPEC, without a version the newest, as a file."""
    release = call.client.release(spec, folder=folder, prereleases=pre)
    if "@" not in spec and not pre:
        note_prerelease(call, release)
    path = new_name(release) if output is None else output
    call.client.fetch_release(release, path)
    if as_json:
        call.show({**_document(release), "file": path})
    elif call.is_quiet:
        click.echo(str(release.content.digest))
    else:
        for line in lines_of_release(release):
            click.echo(line)
        call.note(f"wrote {path}")


def _document(release: Release) -> dict[str, object]:
    return {
        "package": str(release.spec.package),
        "version": str(release.spec.version),
        "place": str(release.place),
        "digest": str(release.content.digest),
        "manifestDigest": str(release.manifest.digest),
        "mediaType": release.content.media_type,
        "size": release.content.size,
        "created": release.created,
    }
