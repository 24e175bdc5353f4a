"""The folder in which zlayer keeps images, read so that they can be taken over.

    blobs/sha256/HEX              configs and layers
    manifests/FOLDER/sha256/HEX   manifests; a folder is a name with ``_`` for ``/`` and others
    manifests/FOLDER/tags/TAG     text: a digest
    index.json                    the names, and the tags of each

Source: zlayer-registry, "local_registry.rs".
"""

from __future__ import annotations

import re
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, Protocol

from ..oci import limits
from ..oci.digest import Digest
from ..oci.document import parse_object
from ..oci.errors import (
    BlobUnknown,
    ContentDamaged,
    InputError,
    ManifestInvalid,
    ManifestUnknown,
)
from ..oci.layout import INDEX_FILE, blob_name
from ..oci.manifest import parse_manifest
from ..oci.reference import parse_name, parse_tag
from ..ports.body import Body
from ..ports.repository import Repository
from ..ports.runtime import ClientRuntime, obtained
from ..ports.store import StoredManifest
from .copy import copy
from .events import Side
from .failure import CopyFailed
from .places.files import FileBody, Folder, let_go
from .places.read_only import ReadOnly
from .verify import read_back

_REPLACED: Final = re.compile(r"[^A-Za-z0-9._-]")


class _Open(Protocol):
    async def __call__(self, name: str, *, create: bool) -> Repository: ...


@dataclass(frozen=True, slots=True)
class Taken:
    """`images` are ``NAME:TAG`` that are here now; `left_out` says why others are not."""

    images: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]


async def take(root: str, open_repository: _Open, runtime: ClientRuntime) -> Taken:
    """Copy every tag of zlayer's folder `root`, verified; its files stay as they are.

    One that is damaged, or has no name that is one here, is left out.  Raises ContentDamaged for
    a folder that is none of zlayer's; CopyFailed (destination); what `open_repository` raises.
    """
    folder = Folder(root)
    images: list[str] = []
    left_out: list[tuple[str, str]] = []
    try:
        for name, tags in (await runtime.offload(_named, folder)).items():
            source = ZlayerImage(folder, name, runtime)
            for tag in tags:
                image = f"{name}:{tag}"
                try:
                    parse_name(name)
                    parse_tag(tag)
                    async with aclosing(await open_repository(name, create=True)) as target:
                        await copy(source, tag, target, [tag], runtime=runtime)
                    images.append(image)
                except (InputError, CopyFailed) as error:
                    if isinstance(error, CopyFailed) and error.side is Side.DESTINATION:
                        raise
                    left_out.append((image, str(error)))
    finally:
        await runtime.offload(folder.close)
    return Taken(tuple(images), tuple(left_out))


def _named(folder: Folder) -> dict[str, list[str]]:
    """The tags of each image.  Raises ContentDamaged."""
    content = folder.read(INDEX_FILE, limits.LAYOUT_INDEX)
    try:
        images = parse_object(content or b"").get("images")
        if not isinstance(images, dict):
            raise ContentDamaged(f"{folder.path} is no folder of zlayer's: no images in index.json")
    except ManifestInvalid as error:
        raise ContentDamaged(f"{folder.path} is no folder of zlayer's: {error}") from None
    found = {}
    for name, image in images.items():
        tags = image.get("tags") if isinstance(image, dict) else None
        found[name] = [tag for tag in tags or () if isinstance(tag, str)]
    return found


class ZlayerImage(ReadOnly):
    """`ports.repository.Repository` of one image."""

    def __init__(self, folder: Folder, name: str, runtime: ClientRuntime) -> None:
        self.place = f"{folder.path}: {name}"
        self._folder, self._runtime = folder, runtime
        self._manifests = f"manifests/{_REPLACED.sub('_', name)}"

    async def blob_size(self, digest: Digest) -> int | None:
        return await self._runtime.offload(self._folder.size, blob_name(digest))

    async def blob_open(self, digest: Digest, start: int = 0) -> Body:
        body = await obtained(self._runtime, lambda: self._body(digest, start), let_go)
        if body is None:
            raise BlobUnknown(self.place, str(digest))
        return body

    def _body(self, digest: Digest, start: int) -> FileBody | None:
        name = blob_name(digest)
        descriptor = self._folder.open(name)
        if descriptor is None:
            return None
        path = f"{self._folder.path}/{name}"
        return FileBody(descriptor, start, None, path, self._runtime)

    async def manifest_get(self, reference: str | Digest) -> StoredManifest:
        return await self._runtime.offload(self._get, reference)

    def _get(self, reference: str | Digest) -> StoredManifest:
        digest = reference
        if isinstance(digest, str):
            text = self._folder.read(f"{self._manifests}/tags/{digest}", limits.TAG * 2)
            if text is None:
                raise ManifestUnknown(self.place, digest)
            digest = Digest.parse(text.decode("utf-8", "replace").strip())
        content = self._folder.read(
            f"{self._manifests}/{digest.algorithm}/{digest.encoded}", limits.MANIFEST
        )
        if content is None:
            raise ManifestUnknown(self.place, str(reference))
        read_back(self.place, digest, content)
        return StoredManifest(digest, parse_manifest(content).media_type, content)
