"""Upload sessions: how bytes become a blob.  Source: distribution-spec, "Pushing blobs"."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress

from ..oci import limits
from ..oci.digest import DEFAULT_ALGORITHM
from ..oci.errors import OutOfSpace, SizeInvalid, StoreUnavailable, UploadUnknown
from ..ports.actor import Reads
from ..ports.body import Body
from ..ports.store import Store, Uploads
from ..protocol.operations import (
    AppendChunk,
    CancelUpload,
    CommitUpload,
    GetUpload,
    Location,
    MountBlob,
    PushBlob,
    StartUpload,
    UploadLocation,
)
from ..protocol.results import BlobStored, UploadCancelled, UploadStands, UploadStarted
from .lists import readable


class _Promised:
    """A body that must have exactly `size` bytes: more or fewer are an error, not a short chunk."""

    file = None

    def __init__(self, body: Body, size: int) -> None:
        self.size: int | None = size
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        promised, seen = self.size or 0, 0
        async for chunk in self._body:
            seen += len(chunk)
            if seen > promised:
                raise SizeInvalid(promised, seen)
            yield chunk
        if seen < promised:
            raise SizeInvalid(promised, seen)

    async def aclose(self) -> None:
        await self._body.aclose()


def _promised(body: Body, size: int | None) -> Body:
    return body if size is None or body.size == size else _Promised(body, size)


def _ours(at: Location) -> UploadLocation:
    if isinstance(at, UploadLocation):
        return at
    raise UploadUnknown("", at.target)


async def start_upload(store: Uploads, operation: StartUpload) -> UploadStarted:
    """Open a session; the algorithm is what its bytes are hashed with while they arrive."""
    algorithm = operation.algorithm or DEFAULT_ALGORITHM
    session = await store.upload_open(operation.name, algorithm)
    return UploadStarted(UploadLocation(operation.name, session))


async def push_blob(store: Uploads, operation: PushBlob, body: Body) -> BlobStored:
    """A whole blob in one request.  Raises DigestMismatch; what the body raises."""
    name, digest = operation.name, operation.digest
    session = await store.upload_open(name, digest.algorithm)
    try:
        await store.upload_commit(name, session, 0, body, digest)
    except BaseException:
        # Nobody knows the session's name: what is left of it would only wait for its expiry.  What
        # went wrong first is what the client is told.
        with suppress(UploadUnknown, StoreUnavailable, OutOfSpace):
            await store.upload_cancel(name, session)
        raise
    return BlobStored(name, digest)


async def mount_blob(
    store: Store, operation: MountBlob, reads: Reads = None
) -> BlobStored | UploadStarted:
    """Take a blob from another repository; where that cannot be done, open a session.

    A source that may not be read has no blob: the answer is the same.
    """
    name, digest = operation.name, operation.digest
    async with aclosing(_sources(store, operation, reads)) as sources:
        async for source in sources:
            if await store.blob_mount(name, digest, source) is not None:
                return BlobStored(name, digest)
    return await start_upload(store, StartUpload(name, digest.algorithm))


async def _sources(
    store: Store, operation: MountBlob, reads: Reads
) -> AsyncGenerator[str | None, None]:
    """Repositories to take the blob from; None is any."""
    if reads is None or (operation.source is not None and reads(operation.source)):
        yield operation.source
    elif operation.source is None:
        looked_at = 0
        async with aclosing(readable(store, reads)) as names:
            async for name in names:
                if await store.blob_stat(name, operation.digest) is not None:
                    yield name
                looked_at += 1
                if looked_at == limits.MOUNT_SOURCES:
                    return


async def append_chunk(store: Uploads, operation: AppendChunk, body: Body) -> UploadStands:
    """Add one PATCH body to the session.

    Raises UploadUnknown; RangeInvalid, with the offset from which the client can resume: out of
    order is refused, not buffered; SizeInvalid.
    """
    at = _ours(operation.at)
    chunk = _promised(body, operation.size)
    offset = await store.upload_append(at.name, at.session, operation.start, chunk)
    return UploadStands(at, offset)


async def commit_upload(store: Uploads, operation: CommitUpload, body: Body) -> BlobStored:
    """Add the last bytes, if any, and turn the session into a blob.

    Raises UploadUnknown; RangeInvalid; SizeInvalid; DigestMismatch.
    """
    at, digest = _ours(operation.at), operation.digest
    last = _promised(body, operation.size)
    await store.upload_commit(at.name, at.session, operation.start, last, digest)
    return BlobStored(at.name, digest)


async def get_upload(store: Uploads, operation: GetUpload) -> UploadStands:
    """Raises UploadUnknown."""
    at = _ours(operation.at)
    return UploadStands(at, await store.upload_status(at.name, at.session))


async def cancel_upload(store: Uploads, operation: CancelUpload) -> UploadCancelled:
    """Raises UploadUnknown."""
    at = _ours(operation.at)
    await store.upload_cancel(at.name, at.session)
    return UploadCancelled()
