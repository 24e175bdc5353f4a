"""Why a digest is kept: every reference to it, in every repository."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from ...oci.digest import Digest
from ...oci.errors import ContentDamaged, StoreUnavailable
from . import paths
from .catalog import Catalog
from .files import Files
from .manifests import DirectoryManifests
from .paths import RepositoryPaths

_PAGE: Final = 1000  # repositories


@dataclass(frozen=True, slots=True)
class Held:
    """What of one repository holds a digest; with nothing in all three a collection takes it.

    `manifests` are those that refer to it, `tags` those that point to it or to one of them.
    """

    repository: str
    is_manifest: bool
    manifests: tuple[Digest, ...]
    tags: tuple[str, ...]

    @property
    def is_kept(self) -> bool:
        return self.is_manifest or bool(self.manifests)

    @property
    def line(self) -> str:
        reasons = []
        if self.is_manifest:
            reasons.append("a manifest that was pushed")
        if self.manifests:
            reasons.append("referred to by " + ", ".join(map(str, self.manifests)))
        if self.tags:
            reasons.append("tags " + ", ".join(self.tags))
        if not self.is_kept:
            reasons.append("a blob that nothing refers to")
        return f"{self.repository}: " + "; ".join(reasons)


async def explain(
    files: Files,
    catalog: Catalog,
    manifests: DirectoryManifests,
    look: Callable[[str], Awaitable[object]],
    digest: Digest,
) -> list[Held]:
    """Every repository that has the digest, or refers to it."""
    found: list[Held] = []
    names = await catalog.layouts("", _PAGE)
    while names:
        for name in names:
            try:
                await look(name)
                held = await _explain(files, manifests, paths.repository(name), digest)
            except StoreUnavailable:  # it leads out of the root, and is not served
                continue
            if held is not None:
                found.append(held)
        names = await catalog.layouts(names[-1], _PAGE)
    return found


async def _explain(
    files: Files, manifests: DirectoryManifests, of: RepositoryPaths, digest: Digest
) -> Held | None:
    is_here = await files.stat(of.blob(digest)) is not None
    entries = await manifests.entries(of)
    parents: list[Digest] = []
    for parent, media_type in sorted(entries.items()):
        try:
            if digest in await manifests.references(of, parent, media_type):
                parents.append(parent)
        except ContentDamaged:
            continue
    if not is_here and not parents and digest not in entries:
        return None
    wanted = {paths.write_short(held) for held in (digest, *parents)}
    texts = await files.texts(of.tags)
    tags = sorted(paths.unescape_tag(file) for file, text in texts.items() if text in wanted)
    return Held(of.name, digest in entries, tuple(parents), tuple(tags))
