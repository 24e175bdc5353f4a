"""``packages:DIR//NAMESPACE/NAME``: a folder of packages, ``NAMESPACE/NAME/VERSION.wasm`` in it.

It is read as a repository in which each version is a tag, and each file a CNCF artifact that is
made of its bytes alone.  So what lists, shows, gets and copies from registries does the same here.

Source: wkg, its backend `local` (WK-180).
"""

from __future__ import annotations

import os
from bisect import bisect_right

from ...artifact import cncf
from ...artifact.writing import EPOCH
from ...oci.digest import Digest
from ...oci.errors import ManifestUnknown, NameUnknown
from ...ports.body import Body
from ...ports.runtime import Runtime
from ...ports.store import StoredManifest
from ...semver import Version, VersionInvalid
from ..local import read_file
from .files import translated
from .made import Made
from .read_only import ReadOnly

_SUFFIX = ".wasm"


class PackageFolder(ReadOnly):
    """`ports.repository.Repository` of one package, which can only be read.

    A file is hashed when it is first asked for; who asks for a digest alone lets them be hashed,
    the last in order first, until it is found.
    """

    def __init__(self, root: str, name: str, runtime: Runtime) -> None:
        self.place = f"packages:{root}//{name}"
        self._folder, self._runtime = os.path.join(root, name), runtime
        self._made = Made(runtime, self.place)
        self._read: dict[str, StoredManifest] = {}

    def _files(self) -> dict[str, str]:
        """Tags to paths; what else lies there is passed over.  Raises NameUnknown."""
        found = {}
        with translated(self._folder):
            try:
                names = os.listdir(self._folder)
            except (FileNotFoundError, NotADirectoryError):
                raise NameUnknown(self.place) from None
        for name in names:
            try:
                version = Version.parse(name.removesuffix(_SUFFIX))
            except VersionInvalid:
                continue
            if name.endswith(_SUFFIX):
                # A tag has no plus sign; every reader of packages takes this for one.
                found[str(version).replace("+", "_")] = os.path.join(self._folder, name)
        return found

    async def tags(self, after: str = "", limit: int = 1000) -> list[str]:
        tags = sorted(await self._runtime.offload(self._files))
        first = bisect_right(tags, after)
        return tags[first : first + limit]

    async def manifest_get(self, reference: str | Digest) -> StoredManifest:
        """Raises ManifestUnknown; WasmInvalid for a file that is none."""
        if isinstance(reference, Digest):
            await self._find(reference)
            return await self._made.manifest_get(reference)
        path = (await self._runtime.offload(self._files)).get(reference)
        if path is None:
            raise ManifestUnknown(self.place, reference)
        return await self._runtime.offload(self._make, reference, path)

    async def blob_size(self, digest: Digest) -> int | None:
        await self._find(digest)
        return await self._made.blob_size(digest)

    async def blob_open(self, digest: Digest, start: int = 0) -> Body:
        await self._find(digest)
        return await self._made.blob_open(digest, start)

    async def _find(self, digest: Digest) -> None:
        """Read files until one has to do with `digest`."""
        if self._knows(digest):
            return
        for tag, path in sorted((await self._runtime.offload(self._files)).items(), reverse=True):
            await self._runtime.offload(self._make, tag, path)
            if self._knows(digest):
                return

    def _knows(self, digest: Digest) -> bool:
        made = self._made
        return digest in made.files or digest in made.contents or digest in made.manifests

    def _make(self, tag: str, path: str) -> StoredManifest:
        if tag not in self._read:
            file = read_file(path)
            if file.binary is None:
                assert file.fault is not None
                raise file.fault
            built = cncf.build(file.binary, file.digest, created=EPOCH)
            digest = built.descriptor.digest
            stored = StoredManifest(digest, built.descriptor.media_type, built.manifest)
            self._made.files[file.digest] = (path, file.size)
            self._made.contents[built.config_descriptor.digest] = built.config
            self._made.manifests[digest] = self._read[tag] = stored
        return self._read[tag]
