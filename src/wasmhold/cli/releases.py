"""Packages as commands tell them: their versions, a release, and the file that it becomes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .calling import Call
from .group import CommandFailed

if TYPE_CHECKING:
    from ..client.packages import Release, Versions


def lines_of_versions(found: Versions) -> Iterator[str]:
    yield f"Package: {found.package}"
    yield "Versions:"
    yield from (f"  {version}" for version in found.all)


def lines_of_release(release: Release) -> Iterator[str]:
    yield f"Release: {release.spec}"
    yield f"Content digest: {release.content.digest}"
    yield f"Manifest digest: {release.manifest.digest}"
    if release.created is not None:
        yield f"Created: {release.created}"
    yield f"Size: {release.content.size}"


def note_prerelease(call: Call, release: Release) -> None:
    """For a release that was looked for, and not wanted as a prerelease."""
    version = release.spec.version
    if version is not None and version.is_prerelease:
        call.note(f"There are prereleases alone: taking {version}")


def new_name(release: Release) -> str:
    """The name of its file.  Raises CommandFailed where something has it already."""
    spec = release.spec
    path = f"{spec.package.namespace}_{spec.package.name}@{spec.version}.wasm"
    if os.path.lexists(path):
        raise CommandFailed(f'"{path}" already exists', "remove it, or fetch it elsewhere")
    return path
