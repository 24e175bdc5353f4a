"""How a blob gets into a registry.  Source: distribution-spec, "Pushing blobs".

A blob goes in one PUT; a large one in chunks, and so does one that broke: from where the registry
says that it stands.  A chunk is never sent a second time before that was asked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Final

from ..oci.descriptor import Descriptor
from ..oci.digest import DEFAULT_ALGORITHM, Digest, hasher
from ..oci.errors import (
    Cancelled,
    DigestMismatch,
    SizeInvalid,
    Unreachable,
    Unsupported,
    UploadInvalid,
    WasmholdError,
)
from ..oci.limits import MIB
from ..ports.body import Body
from ..ports.repository import BlobSource
from ..ports.runtime import ClientRuntime
from ..protocol import operations as op
from ..protocol import results as res
from ..protocol.errors import RemoteError
from ..protocol.read_response import ResponseInvalid
from .scopes import Scopes, to_push
from .session import Reply, Session

CHUNK: Final = 64 * MIB  # bytes of one PATCH, and the largest blob that goes in one PUT
_LEAST_CHUNK: Final = 1 * MIB  # what is left of it after many breaks
_PROGRESS: Final = 1 * MIB  # bytes that make up for a failure
# Refusals of what arrived: it broke on its way, a new session may take it.
_DAMAGED: Final = frozenset({"DIGEST_INVALID", "SIZE_INVALID"})
_OCTETS: Final = (b"content-type", b"application/octet-stream")


async def put_blob(session: Session, name: str, descriptor: Descriptor, source: BlobSource) -> None:
    """Upload the bytes of `source`; `ports.repository.Blobs.blob_put` says what holds."""
    feed = _Feed(session.network.runtime, descriptor, source)
    try:
        await _Upload(session, name, descriptor, feed).run()
    finally:
        await feed.aclose()


class _Upload:
    def __init__(self, session: Session, name: str, descriptor: Descriptor, feed: _Feed) -> None:
        self._session, self._name, self._descriptor, self._feed = session, name, descriptor, feed
        self._scopes = to_push(name)
        self._at: op.RemoteLocation | None = None  # the session; None: a new one is to be opened
        self._offset = 0  # bytes that the registry holds
        self._in_chunks = descriptor.size > CHUNK
        self._may_chunk = True  # not so where a registry has refused one: one PUT is left
        self._chunk, self._least_chunk = CHUNK, _LEAST_CHUNK

    async def run(self) -> None:
        failures, counted, is_broken = 0, 0, False
        while True:
            try:
                if is_broken and await self._is_there():
                    return
                if is_broken:
                    await self._find_out()
                if self._at is None:
                    await self._open()
                if self._in_chunks:
                    await self._append()
                return await self._commit()
            except WasmholdError as error:
                try:
                    if self._feed.failed is not None or not await self._is_passing(error):
                        raise
                    if self._offset - counted >= _PROGRESS:
                        failures, counted = 0, self._offset
                    failures += 1
                    await self._session.pause(failures, error)
                except WasmholdError:
                    await self._cancel()
                    raise
                is_broken = True

    async def _is_passing(self, error: WasmholdError) -> bool:
        """May it go on, from where the registry stands or anew?  Then `error` says so too."""
        if error.retryable or not isinstance(error, RemoteError) or self._at is None:
            return error.retryable
        if error.codes & _DAMAGED:
            await self._cancel()
            error.retryable = True
        elif error.answer_status in (404, 416):
            error.retryable = True
        elif self._in_chunks and self._may_chunk and error.answer_status != 413:
            await self._cancel()
            self._in_chunks, self._may_chunk, error.retryable = False, False, True
        return error.retryable

    async def _open(self) -> None:
        algorithm = self._descriptor.digest.algorithm
        reply = await self._session.ask(
            op.StartUpload(self._name, None if algorithm == DEFAULT_ALGORITHM else algorithm),
            self._scopes,
            once=True,
        )
        assert isinstance(reply.result, res.UploadStarted)
        self._at, self._offset = reply.location(reply.result.at), 0
        self._least_chunk = max(_LEAST_CHUNK, reply.result.chunk_min or 0)

    async def _append(self) -> None:
        """Send chunks until all bytes are there."""
        size = self._descriptor.size
        while self._offset < size:
            start = self._offset
            stop = min(size, start + max(self._chunk, self._least_chunk))
            assert self._at is not None
            reply = await self._session.ask(
                op.AppendChunk(self._at, start, stop - start),
                self._scopes,
                self._body(start, stop),
                fields=[_OCTETS],
                once=True,
            )
            self._take(reply)
            if self._offset != stop:
                raise Unreachable(
                    self._session.host, f"it holds {self._offset} of {stop} bytes that were sent"
                )

    async def _commit(self) -> None:
        assert self._at is not None
        start, size, digest = self._offset, self._descriptor.size, self._descriptor.digest
        has_body = start < size or size == 0
        reply = await self._session.ask(
            op.CommitUpload(self._at, digest, start or None, size - start),
            self._scopes,
            self._body(start, size) if has_body else None,
            fields=[_OCTETS] if has_body else [],
            once=True,
        )
        assert isinstance(reply.result, res.BlobStored)
        stored = reply.result.digest
        if stored != digest and not await blob_size(
            self._session, self._name, digest, self._scopes
        ):
            raise Unsupported(
                f"{self._session.host} has stored {digest} as {stored}: it cannot keep "
                f"{digest.algorithm} digests"
            )

    def _body(self, start: int, stop: int) -> Callable[[], Iterable[bytes]]:
        return lambda: self._feed.part(start, stop)

    def _take(self, reply: Reply) -> None:
        assert isinstance(reply.result, res.UploadStands)
        self._at, self._offset = reply.location(reply.result.at), reply.result.offset
        if self._offset > self._feed.hashed:
            self._at = None
            raise Unreachable(self._session.host, "it claims bytes that were never sent")

    async def _find_out(self) -> None:
        """Ask where the session stands; one that is lost is opened anew."""
        if self._at is None:
            return
        self._chunk = max(self._least_chunk, self._chunk // 2)
        try:
            self._take(await self._session.ask(op.GetUpload(self._at), self._scopes, once=True))
            self._in_chunks = self._may_chunk
        except (RemoteError, ResponseInvalid, UploadInvalid) as error:
            if error.retryable:
                raise
            self._at = None

    async def _is_there(self) -> bool:
        """Whether it arrived although its answer was lost."""
        if self._feed.hashed < self._descriptor.size:
            return False
        digest = self._descriptor.digest
        return (
            await blob_size(self._session, self._name, digest, self._scopes, once=True) is not None
        )

    async def _cancel(self) -> None:
        at, self._at = self._at, None
        if at is not None:
            await give_up(self._session, self._name, at)


async def give_up(session: Session, name: str, at: op.RemoteLocation) -> None:
    """Cancel an upload; what the registry says to that does not matter (DS-130)."""
    try:
        await session.ask(op.CancelUpload(at), to_push(name), once=True)
    except WasmholdError:
        pass


async def blob_size(
    session: Session, name: str, digest: Digest, scopes: Scopes, *, once: bool = False
) -> int | None:
    """Bytes of a blob, None where the repository has no such blob."""
    operation = op.GetBlob(name, digest, with_body=False)
    try:
        reply = await session.ask(operation, scopes, once=once)
    except RemoteError as error:
        if error.answer_status == 404:
            return None
        raise
    assert isinstance(reply.result, res.BlobFound)
    return reply.result.size


class _Feed:
    """The bytes of a blob for requests that each want a part of them, hashed on their first way.

    Its methods block and run inside of `offload`.
    """

    def __init__(self, runtime: ClientRuntime, descriptor: Descriptor, source: BlobSource) -> None:
        self.failed: BaseException | None = None  # what the source raised, or what it lacks
        self._runtime, self._descriptor, self._source = runtime, descriptor, source
        self._body: Body | None = None
        self._chunks: AsyncIterator[bytes] | None = None
        self._rest = b""
        self._at = 0  # of the first byte of `_rest`
        self.hashed = 0  # bytes from the start that are
        self._hasher = hasher(descriptor.digest.algorithm)

    def part(self, start: int, stop: int) -> Iterator[bytes]:
        """Bytes `start` to `stop`; the last of the blob only once all of it is verified."""
        try:
            yield from self._part(start, stop)
        except GeneratorExit:
            raise
        except BaseException as error:
            self.failed = error
            raise

    def _part(self, start: int, stop: int) -> Iterator[bytes]:
        runtime, size = self._runtime, self._descriptor.size
        if self._body is None or self._at != start:
            runtime.finish(self._open(start))
        while self._at < stop:
            if runtime.cancelled():
                raise Cancelled
            if not self._rest:
                self._rest = runtime.finish(self._next())
                if not self._rest:
                    raise SizeInvalid(size, self._at)
            piece, self._rest = self._rest[: stop - self._at], self._rest[stop - self._at :]
            self._at += len(piece)
            if self._at > self.hashed:
                self._hasher.update(piece[self.hashed - self._at :])
                self.hashed = self._at
            if self._at == size:
                self._verify()
            yield piece
        if size == 0:
            self._verify()

    def _verify(self) -> None:
        more = self._rest or self._runtime.finish(self._next())
        if more:
            raise SizeInvalid(self._descriptor.size, self._at + len(more))
        digest = self._descriptor.digest
        if self._hasher.hexdigest() != digest.encoded:
            actual = Digest(digest.algorithm, self._hasher.hexdigest())
            raise DigestMismatch(str(digest), str(actual))

    async def _open(self, start: int) -> None:
        await self.aclose()
        self._body = await self._source.open(start)
        self._chunks = aiter(self._body)
        self._rest, self._at = b"", start

    async def _next(self) -> bytes:
        assert self._chunks is not None
        return await anext(self._chunks, b"")

    async def aclose(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            await body.aclose()
