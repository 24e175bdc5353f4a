"""``wasmhold warg-loader``: the command line of warg-loader 0.0.6, the ancestor of wkg."""

from __future__ import annotations

import os
from typing import Any

import click

from ...client.packages import Release
from ...package import PackageSpec
from ...semver import Version
from ..calling import Call, ClientCommand
from ..group import CommandFailed
from .face import always_one


class _Command(ClientCommand):
    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        with always_one("wasmhold warg-loader --help"):
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with always_one(f"{ctx.command_path} --help"):
            return super().invoke(ctx)


@click.command("warg-loader", cls=_Command, short_help="the command line of warg-loader")
@click.argument("package")
@click.argument("action", metavar="[show|fetch]", default="show")
@click.argument("version", required=False)
@click.option("--pre", is_flag=True, help="The newest may be a prerelease.")
@click.option("--verbose", is_flag=True, help="Count tags that are no versions.")
@click.pass_obj
def warg_loader(
    call: Call, package: str, action: str, version: str | None, pre: bool, verbose: bool
) -> None:
    """Show the versions of PACKAGE, or one of them, or fetch it.

    Where a package lives is said by --registry, else by its namespace: wasi and ba are known.
    """
    if action not in ("show", "fetch"):
        raise CommandFailed(f'unknown subcmd "{action}"', "show and fetch are known")
    wanted = PackageSpec.parse(package)
    if version is not None:
        wanted = PackageSpec(wanted.package, Version.parse(version))
    if action == "show" and wanted.version is None:
        found = call.client.versions(str(wanted.package))
        click.echo(f"Package: {found.package}")
        click.echo("Versions:")
        for one in found.all:
            click.echo(f"  {one}")
        if verbose and found.skipped:
            call.note(f"{found.skipped} tags are no versions")
        return
    if wanted.version is None:
        call.note("No version specified; looking up latest release...")
    elif action == "fetch":
        call.note(f"Fetching release details for {wanted}...")
    release = call.client.release(str(wanted), prereleases=pre)
    if action == "show":
        _show(release)
    else:
        _fetch(call, release, is_found=wanted.version is None, is_wanted=pre)


def _show(release: Release) -> None:
    click.echo(f"Release: {release.spec}")
    click.echo(f"Content digest: {release.content.digest}")
    click.echo(f"Manifest digest: {release.manifest.digest}")
    if release.created is not None:
        click.echo(f"Created: {release.created}")
    click.echo(f"Size: {release.content.size}")


def _fetch(call: Call, release: Release, *, is_found: bool, is_wanted: bool) -> None:
    spec = release.spec
    assert spec.version is not None
    if is_found:
        if spec.version.is_prerelease and not is_wanted:
            call.note(f"There are prereleases alone: taking {spec.version}")
        call.note(f"Fetching release details for {spec}...")
    path = f"{spec.package.namespace}_{spec.package.name}@{spec.version}.wasm"
    if os.path.lexists(path):
        raise CommandFailed(f'"{path}" already exists', "remove it, or fetch it elsewhere")
    call.note(f'Downloading content to "{path}"...')
    call.client.fetch_release(release, path)
