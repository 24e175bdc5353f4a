"""Upload sessions: a file that grows, and becomes the blob itself.

`state` is locked by whoever changes the session, in any process of the host.  It holds a nonce
that is new before the bytes change, so that a running hash is never taken for that of other bytes.
Nothing is synced before the commit: a power loss takes sessions, never blobs.
"""

from __future__ import annotations

from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from typing import Final, Self

from ...oci.digest import Digest, Hasher
from ...oci.digest import hasher as new_hasher
from ...oci.errors import (
    DigestMismatch,
    OutOfSpace,
    RangeInvalid,
    StoreUnavailable,
    UploadUnknown,
    WasmholdError,
)
from ...ports.body import Body
from ...ports.runtime import Randomness
from ..memo import Memo
from ..pieces import Buffers
from ..sessions import is_id, new_id
from . import paths
from .blobs import DirectoryBlobs
from .disk import Disk
from .files import Exists, Held, Status, Writer

_HASHES: Final = 1024  # sessions whose running hash is kept


@dataclass(frozen=True, slots=True)
class Session:
    """What `state` says: ``<repository> <algorithm> <nonce>``."""

    repository: str
    algorithm: str  # what the bytes are hashed with while they come
    nonce: str

    @classmethod
    def parse(cls, content: bytes) -> Self | None:
        """None when it is damaged, as a power loss may leave it."""
        words = content.decode("ascii", "replace").split(" ")
        return cls(*words) if len(words) == 3 else None

    def __str__(self) -> str:
        return f"{self.repository} {self.algorithm} {self.nonce}"


@dataclass(frozen=True, slots=True)
class _Hashed:
    """The hash of the first `size` bytes that the session with this nonce holds."""

    nonce: str
    size: int
    algorithm: str
    hasher: Hasher


def _committed(name: str, digest: Digest) -> str:
    """What is left of a session; with sha256 below 60 bytes, as `paths.write_short` says why."""
    return f"{Digest.of(name.encode()).encoded[:8]} {paths.write_short(digest)}"


class DirectoryUploads:
    """`ports.store.Uploads`, and the removal of sessions."""

    def __init__(self, disk: Disk, blobs: DirectoryBlobs, randomness: Randomness) -> None:
        self._disk = disk
        self._files = disk.files
        self._blobs = blobs
        self._randomness = randomness
        self._buffers = Buffers()
        self._hashes: Memo[str, _Hashed] = Memo(_HASHES)

    # ---- what clients ask

    async def open(self, name: str, algorithm: str) -> str:
        paths.repository(name)  # a name that no folder can have is refused before bytes come
        session = new_id(self._randomness)
        folder = paths.upload(session)
        await self._disk.make_folder(paths.UPLOADS, durable=False)
        await self._files.make_folder(folder)
        state = Session(name, algorithm, self._disk.nonce())
        await self._files.create(f"{folder}/state", str(state).encode())
        return session

    async def status(self, name: str, session: str) -> int:
        await self._read(name, session)
        return (await self._data(session)).size

    async def append(self, name: str, session: str, offset: int | None, body: Body) -> int:
        async with aclosing(body):
            held = await self._lock(name, session)
            try:
                found = await self._read(name, session)
                size, _ = await self._add(session, found, offset, body, found.algorithm)
                return size
            finally:
                await self._files.unlock(held)

    async def commit(
        self, name: str, session: str, offset: int | None, body: Body, digest: Digest
    ) -> int:
        async with aclosing(body):
            try:
                held = await self._lock(name, session)
            except UploadUnknown:
                return await self._repeated(name, session, digest)
            try:
                return await self._commit(name, session, offset, body, digest)
            finally:
                await self._files.unlock(held)

    async def _repeated(self, name: str, session: str, digest: Digest) -> int:
        """The client did not hear our answer."""
        if is_id(session):
            text = await self._files.readlink(paths.committed(session))
            size = await self._blobs.stat(name, digest)
            if text == _committed(name, digest) and size is not None:
                return size
        raise UploadUnknown(name, session)

    async def _commit(
        self, name: str, session: str, offset: int | None, body: Body, digest: Digest
    ) -> int:
        found = await self._read(name, session)
        data = f"{paths.upload(session)}/data"
        before = await self._data(session)
        if before.links > 1:  # a commit broke off behind its first link
            if await self._disk.hash(data, digest.algorithm) != digest:
                raise UploadUnknown(name, session)
            size = before.size
        else:
            size, hasher = await self._add(session, found, offset, body, digest.algorithm)
            try:
                await self._check(session, hasher, digest)
            except (StoreUnavailable, OutOfSpace):
                await self._cut(session, before.size)
                raise
        try:
            await self._files.sync(data)
            await self._blobs.place(data, name, digest)
        except WasmholdError:
            await self._cut(session, before.size)  # so that the same request can come again
            raise
        with suppress(Exists, StoreUnavailable, OutOfSpace):  # the commit is done
            await self._files.symlink(_committed(name, digest), paths.committed(session))
        with suppress(StoreUnavailable, OutOfSpace):  # a collector does it
            await self.drop(session)
        return size

    async def _check(self, session: str, hasher: Hasher | None, digest: Digest) -> None:
        """Raises DigestMismatch, and then the session is gone."""
        data = f"{paths.upload(session)}/data"
        (await self._files.open_write(data)).close()  # an empty blob is a file too
        if hasher is None:  # other processes hashed it, or with another algorithm
            actual = await self._disk.hash(data, digest.algorithm)
        else:
            actual = Digest(digest.algorithm, hasher.hexdigest())
        if actual != digest:
            await self.drop(session)
            raise DigestMismatch(str(digest), str(actual))

    async def cancel(self, name: str, session: str) -> None:
        held = await self._lock(name, session)
        try:
            await self._read(name, session)
            await self.drop(session)
        finally:
            await self._files.unlock(held)

    # ---- bytes

    async def _add(
        self, session: str, found: Session, offset: int | None, body: Body, algorithm: str
    ) -> tuple[int, Hasher | None]:
        """Add the body; the new size, and the hash of it all where it is known here.

        When it breaks, the session is as before.
        """
        data = await self._data(session)
        before = data.size
        if data.links > 1:
            raise UploadUnknown(found.repository, session)
        if offset is not None and offset != before:
            raise RangeInvalid(before, offset)
        hasher = self._hasher(session, found, before, algorithm)
        size, nonce = before, found.nonce
        writer: Writer | None = None
        try:
            async with aclosing(self._buffers.batches(body)) as batches:
                async for chunks in batches:
                    if writer is None:
                        nonce = await self._renew(session, found)
                        writer = await self._files.open_write(f"{paths.upload(session)}/data")
                    await writer.write(*chunks, hasher=hasher)
                    size += sum(map(len, chunks))
        except BaseException:
            if writer is not None:
                await writer.truncate(before)
            raise
        finally:
            if writer is not None:
                writer.close()
        if hasher is not None:
            self._hashes.put(session, _Hashed(nonce, size, algorithm, hasher))
        return size, hasher

    async def _cut(self, session: str, size: int) -> None:
        """Take back what was added."""
        data = await self._data(session)
        if data.links == 1 and data.size > size:
            writer = await self._files.open_write(f"{paths.upload(session)}/data")
            try:
                await writer.truncate(size)
            finally:
                writer.close()
            self._hashes.drop(session)

    def _hasher(self, session: str, found: Session, size: int, algorithm: str) -> Hasher | None:
        """The hash of what the session holds, to go on with; None when it is not known here."""
        if not size:
            return new_hasher(algorithm)
        known = self._hashes.get(session)
        if known is None or (known.nonce, known.size) != (found.nonce, size):
            return None
        return known.hasher.copy() if known.algorithm == algorithm else None

    async def _renew(self, session: str, found: Session) -> str:
        """The bytes are about to change: no hash of them that anybody has is right any more."""
        nonce = self._disk.nonce()
        state = str(replace(found, nonce=nonce)).encode()
        await self._files.overwrite(f"{paths.upload(session)}/state", state)
        return nonce

    async def _data(self, session: str) -> Status:
        """The file of the bytes.  With a second name it is a blob, and never changes again."""
        found = await self._files.stat(f"{paths.upload(session)}/data")
        return found or Status(inode=0, size=0, links=0, modified_ns=0, changed_ns=0)

    # ---- sessions

    async def _lock(self, name: str, session: str) -> Held:
        """Raises UploadUnknown."""
        held: Held | None = None
        if is_id(session):
            await self._read(name, session)  # of another repository: not even locked
            state = f"{paths.upload(session)}/state"
            held = await self._files.lock(state, exclusive=True)
        if held is None:
            raise UploadUnknown(name, session)
        return held

    async def _read(self, name: str, session: str) -> Session:
        """Raises UploadUnknown."""
        if is_id(session):
            content = await self._files.read(f"{paths.upload(session)}/state")
            found = None if content is None else Session.parse(content)
            if found is not None and found.repository == name:
                return found
        raise UploadUnknown(name, session)

    async def drop(self, session: str) -> None:
        """Take the session away; its lock is held.  What breaks off is finished by a collector."""
        self._hashes.drop(session)
        folder = paths.upload(session)
        # Without its state there is no session: what is left is nobody's.
        for file in ("state", "state.queue", "data"):
            await self._files.unlink(f"{folder}/{file}")
        await self._files.remove_folder(folder)
