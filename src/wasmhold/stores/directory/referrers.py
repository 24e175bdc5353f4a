"""Referrers: names under the subject; the descriptor is derived from the manifest."""

from __future__ import annotations

from bisect import bisect_right
from itertools import islice
from typing import Final

from ...oci.descriptor import Descriptor
from ...oci.digest import Digest
from ...oci.manifest import parse_manifest
from ..memo import Memo
from . import paths
from .disk import Disk
from .manifests import DirectoryManifests
from .paths import RepositoryPaths

_DESCRIPTORS: Final = 16 * 1024 * 1024  # bytes of descriptors that are remembered, roughly


def _weight(descriptor: Descriptor) -> int:
    return 1024 + sum(len(k) + len(v) + 256 for k, v in descriptor.annotations.items())


class DirectoryReferrers:
    def __init__(self, disk: Disk, manifests: DirectoryManifests) -> None:
        self._files = disk.files
        self._manifests = manifests
        # By digest and media type: with both the same, so is the descriptor.
        self._known: Memo[tuple[Digest, str], Descriptor] = Memo(_DESCRIPTORS, _weight)

    async def page(
        self, name: str, subject: Digest, after: Digest | None, limit: int
    ) -> list[Descriptor]:
        of = paths.repository(name)
        names = sorted(await self._files.names(of.referrers_of(subject)) or [])
        start = 0 if after is None else bisect_right(names, str(after))
        found: list[Descriptor] = []
        for file in islice(names, start, None):
            if len(found) >= limit:
                break
            digest = paths.read_digest(file)
            descriptor = None if digest is None else await self._descriptor(of, digest)
            if descriptor is not None:
                found.append(descriptor)
        return found

    async def _descriptor(self, of: RepositoryPaths, digest: Digest) -> Descriptor | None:
        """None where only the name is left: of a put that broke off, or of a delete."""
        media_type = await self._files.readlink(of.manifest(digest))
        if media_type is None:
            return None
        known = self._known.get((digest, media_type))
        if known is None:
            stored = await self._manifests.get(of.name, digest)
            if stored is None:
                return None
            manifest = parse_manifest(stored.content, stored.media_type)
            known = manifest.descriptor(digest, len(stored.content))
            self._known.put((digest, media_type), known)
        return known
