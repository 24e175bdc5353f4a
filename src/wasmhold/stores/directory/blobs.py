"""Blobs: files with a name in the pool of the store and one in each repository that has them."""

from __future__ import annotations

from ...oci.digest import Digest
from ...oci.errors import BlobInUse, BlobUnknown
from ...ports.body import Body
from . import paths
from .disk import Disk
from .files import Absent, Exists, TooManyLinks
from .manifests import DirectoryManifests
from .verified import PART_LIMIT, VerifyingBody, damaged


class DirectoryBlobs:
    """`ports.store.Blobs`, and how a staged file becomes one."""

    def __init__(self, disk: Disk, manifests: DirectoryManifests) -> None:
        self._disk = disk
        self._files = disk.files
        self._manifests = manifests

    async def stat(self, name: str, digest: Digest) -> int | None:
        found = await self._files.stat(paths.repository(name).blob(digest))
        return None if found is None else found.size

    async def open(self, name: str, digest: Digest, start: int, stop: int | None) -> Body:
        path = paths.repository(name).blob(digest)
        found = await self._files.stat(path)
        body = None if found is None else await self._files.open_body(path, start, stop)
        if found is None or body is None:
            raise BlobUnknown(name, str(digest))
        if self._disk.is_verified(digest, found):
            return body
        if start == 0 and body.size == found.size:
            return VerifyingBody(
                body,
                name,
                digest,
                runtime=self._disk.runtime,
                when_right=lambda: self._disk.verified(digest, found),
            )
        if found.size <= PART_LIMIT and not await self._disk.verify(digest, path):
            await body.aclose()
            raise damaged(name, digest)
        return body

    async def place(self, source: str, name: str, digest: Digest) -> None:
        """Make the file `source` a blob of the repository; it keeps its own name.

        Its bytes are synced and hash to the digest.  A blob that is there already stays, when its
        bytes are right too.
        """
        of = paths.repository(name)
        with self._disk.writing(of):
            await self._disk.make_repository(of, digest.algorithm)
            await self._pool(source, digest)
            async with self._disk.locked(of.lock, exclusive=False):
                await self._name(paths.pool(digest), of.blob(digest), digest, source)
            await self._disk.sync(of.blobs_of(digest.algorithm))

    async def _pool(self, source: str, digest: Digest) -> None:
        pool = paths.pool(digest)
        await self._disk.make_folder(pool.rpartition("/")[0], durable=False)
        try:
            await self._files.link(source, pool)
        except Exists:
            if await self._disk.verify(digest, pool):
                return
            await self._disk.replace(source, pool)
        self._disk.verified(digest, await self._files.stat(source))

    async def _name(self, file: str, name: str, digest: Digest, source: str) -> None:
        """Give `file` a name in a repository, whose lock is held: so a collector that looks for
        what is old sees the blob as new from here on, or has removed the old name already."""
        try:
            try:
                await self._files.link(file, name)
            except Exists:
                here, there = await self._files.stat(name), await self._files.stat(file)
                if here is not None and there is not None and here.inode != there.inode:
                    await self._disk.replace(file, name)
                await self._files.touch(name)
        except TooManyLinks:
            await self._split(file, name, digest)
        except Absent:
            if file == source:
                raise
            # The last name of the pooled file was taken away in between.
            await self._name(source, name, digest, source)

    async def _split(self, file: str, name: str, digest: Digest) -> None:
        """Go on with a copy: the file system gives the file no further name."""
        tmp = self._disk.tmp()
        try:
            await self._files.copy(file, tmp)
            await self._files.sync(tmp)
            await self._disk.replace(tmp, name)
            await self._disk.replace(tmp, paths.pool(digest))
        finally:
            await self._files.unlink(tmp)

    async def mount(self, name: str, digest: Digest, source: str | None) -> int | None:
        of = paths.repository(name)
        origin = paths.pool(digest) if source is None else paths.repository(source).blob(digest)
        for file in (of.blob(digest), origin):
            found = await self._files.stat(file)
            if found is not None:
                break
        else:
            return None
        with self._disk.writing(of):
            await self._disk.make_repository(of, digest.algorithm)
            try:
                async with self._disk.locked(of.lock, exclusive=False):
                    await self._name(file, of.blob(digest), digest, file)
            except Absent:
                if await self._files.stat(file) is None:
                    return None
                raise
            await self._disk.sync(of.blobs_of(digest.algorithm))
        return found.size

    async def delete(self, name: str, digest: Digest) -> None:
        of = paths.repository(name)
        if await self.stat(name, digest) is None:
            raise BlobUnknown(name, str(digest))
        used = await self._manifests.used(of)  # so that little is read while we hold the lock
        with self._disk.writing(of):
            async with self._disk.locked(of.lock, exclusive=True):
                if await self._files.stat(of.blob(digest)) is None:
                    raise BlobUnknown(name, str(digest))
                if digest in (await self._manifests.used_again(of, used)).digests:
                    raise BlobInUse(name, str(digest))
                # A manifest's removal must not come undone after that of what it referred to.
                await self._disk.sync(of.manifests)
                await self._files.unlink(of.blob(digest))
            await self._disk.sync(of.blobs_of(digest.algorithm))
