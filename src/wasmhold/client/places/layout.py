"""``oci:DIR[:TAG]``: image layouts in folders, as skopeo, oras, umoci, regctl and crane have them.

A blob is written beside the others, synced, and then gets its name.  The index is replaced as a
whole, under the lock of ``oci-layout``, after the folders of the blobs were synced: so a layout is
whole at every moment, also after a power loss, and several processes may write to it.

Nothing below the folder that the user names is followed when it is a symbolic link.
"""

from __future__ import annotations

import threading
from collections.abc import Collection

from ...oci import limits
from ...oci.descriptor import Descriptor
from ...oci.digest import HEX_LENGTH, Digest
from ...oci.errors import ContentDamaged
from ...oci.layout import INDEX_FILE, LAYOUT, LAYOUT_FILE, LayoutIndex, Naming, blob_name
from ...ports.repository import BlobSource
from ...ports.runtime import Runtime, obtained
from ..verify import pour
from .files import FileBody, Folder, Staged
from .indexed import Change, IndexedRepository, read_index


def open_layout(path: str, runtime: Runtime, naming: Naming | None = None) -> IndexedRepository:
    """The layout in the folder `path`, which is made by the first write.  It touches nothing."""
    return IndexedRepository(f"oci:{path}", FolderContent(path, runtime), runtime, naming)


class FolderContent:
    """`indexed.Content` in a folder."""

    def __init__(self, path: str, runtime: Runtime) -> None:
        self._folder = Folder(path)
        self._path, self._runtime = path, runtime
        self._begin = threading.Lock()
        self._is_begun = False

    # ---- reading

    def index(self) -> LayoutIndex | None:
        content = self._folder.read(INDEX_FILE, limits.LAYOUT_INDEX)
        if content is None:
            return None
        return read_index(self._path, self._folder.read(LAYOUT_FILE, limits.MANIFEST), content)

    def state(self) -> object:
        return self._folder.identity(INDEX_FILE)

    def size(self, digest: Digest) -> int | None:
        return self._folder.size(blob_name(digest))

    def read(self, digest: Digest, limit: int) -> bytes | None:
        return self._folder.read(blob_name(digest), limit)

    def body(self, digest: Digest, start: int) -> FileBody | None:
        name = blob_name(digest)
        descriptor = self._folder.open(name)
        if descriptor is None:
            return None
        return FileBody(descriptor, start, None, f"{self._path}/{name}", self._runtime)

    # ---- writing

    def _begun(self) -> None:
        """Make it a layout.  Raises ContentDamaged for a folder that holds something else."""
        with self._begin:
            if self._is_begun:
                return
            self._folder.make()
            if self._folder.size(LAYOUT_FILE) is None:
                if self._folder.names():
                    raise ContentDamaged(
                        f"{self._path} is not empty and no image layout: name another folder"
                    )
                self._folder.create(LAYOUT_FILE, LAYOUT)
            self.index()  # what cannot be read is not written to
            self._folder.sweep()
            self._is_begun = True

    async def put_blob(self, descriptor: Descriptor, source: BlobSource) -> None:
        await self._runtime.offload(self._begun)
        staged = await obtained(self._runtime, self._folder.stage, Staged.close)
        try:
            await pour(source, descriptor, self._runtime, staged.write)
            await self._runtime.offload(staged.place, blob_name(descriptor.digest))
        finally:
            staged.close()

    def put(self, digest: Digest, content: bytes) -> None:
        self._begun()
        staged = self._folder.stage()
        try:
            staged.write(content)
            staged.place(blob_name(digest))
        finally:
            staged.close()

    def update(self, change: Change, removed: Collection[Digest]) -> None:
        self._begun()
        self._folder.sync("blobs", *(f"blobs/{algorithm}" for algorithm in HEX_LENGTH))
        with self._folder.locked(LAYOUT_FILE):
            index = change(self.index() or LayoutIndex.empty())
            self._folder.write(INDEX_FILE, index.dump())
            for digest in removed:
                self._folder.unlink(blob_name(digest))

    def close(self) -> None:
        self._folder.close()
