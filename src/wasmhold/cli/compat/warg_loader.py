"""``wasmhold warg-loader``: the command line of warg-loader 0.0.6, the ancestor of wkg."""

from __future__ import annotations

from typing import Any

import click

from ...package import PackageSpec
from ...semver import Version
from ..calling import Call, ClientCommand
from ..group import CommandFailed
from ..releases import lines_of_release, lines_of_versions, new_name, note_prerelease
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
        for line in lines_of_versions(found):
            click.echo(line)
        if verbose and found.skipped:
            call.note(f"{found.skipped} tags are no versions")
        return
    if wanted.version is None:
        call.note("No version specified; looking up latest release...")
    elif action == "fetch":
        call.note(f"Fetching release details for {wanted}...")
    release = call.client.release(str(wanted), prereleases=pre)
    if action == "show":
        for line in lines_of_release(release):
            click.echo(line)
        return
    if wanted.version is None:
        if not pre:
            note_prerelease(call, release)
        call.note(f"Fetching release details for {release.spec}...")
    path = new_name(release)
    call.note(f'Downloading content to "{path}"...')
    call.client.fetch_release(release, path)
