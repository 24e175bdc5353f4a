"""Bytes of a blob from a registry.  Source: distribution-spec, "Pulling blobs"; RFC 9110, 14.

Where a connection breaks, `reader.Reader` opens the blob again from there.
"""

from __future__ import annotations

from contextlib import aclosing

from ..oci.digest import Digest
from ..oci.errors import BlobUnknown, Cancelled, Unreachable
from ..ports.body import Body, BytesBody, read_start
from ..ports.runtime import ClientRuntime
from ..protocol import operations as op
from ..protocol import results as res
from ..protocol.errors import RemoteError
from ..protocol.ranges import ByteRange
from ..protocol.read_response import ResponseInvalid
from .scopes import Scopes
from .session import Session
from .transport import Readable
from .transport.port import PIECE


async def open_blob(
    session: Session,
    name: str,
    digest: Digest,
    start: int,
    scopes: Scopes,
    stop: int | None = None,
) -> Body:
    """The blob from byte `start`, up to `stop` or its end, not verified.  Raises BlobUnknown.

    Where a registry knows no ranges, more than up to `stop` would come: nobody reads it.
    """
    part = None
    if start or stop is not None:
        part = ByteRange(start, None if stop is None else stop - 1)
    try:
        reply = await session.ask(op.GetBlob(name, digest, range=part), scopes)
    except RemoteError as error:
        if error.answer_status == 404:
            raise BlobUnknown(name, str(digest)) from error
        if error.answer_status == 416 and part is not None:
            return BytesBody()  # the place behind the last byte
        raise
    found = reply.result
    assert isinstance(found, res.BlobFound)
    assert reply.body is not None
    return body_of(found, reply.body, start, session.network.runtime, session.host, stop)


async def blob_start(
    session: Session, name: str, digest: Digest, size: int, scopes: Scopes
) -> bytes:
    """The first `size` bytes of a blob, fewer when it has no more.  Raises BlobUnknown."""
    async with aclosing(await open_blob(session, name, digest, 0, scopes, size)) as body:
        return await read_start(body, size)


def body_of(
    found: res.BlobFound,
    content: Readable,
    start: int,
    runtime: ClientRuntime,
    host: str,
    stop: int | None = None,
) -> RemoteBody:
    """What an answer has from byte `start`; closes `content` when it raises ResponseInvalid."""
    if found.part is not None and found.part[0] != start:
        content.close()
        raise ResponseInvalid(f"bytes from {start} were asked for, those from {found.part[0]} came")
    # Who knows no ranges begins at the beginning.
    skip = start if found.part is None else 0
    end = found.size if stop is None else min(found.size, stop)
    return RemoteBody(runtime, host, content, end - start, skip)


class RemoteBody:
    """`size` bytes of an answer of `host`, behind the first `skip` that nobody wants.

    `size` None: as many as come.
    """

    file = None

    def __init__(
        self, runtime: ClientRuntime, host: str, content: Readable, size: int | None, skip: int
    ) -> None:
        self.size: int | None = size
        self._runtime, self._host, self._content = runtime, host, content
        self._left, self._skip = size, skip

    def __aiter__(self) -> RemoteBody:
        return self

    async def __anext__(self) -> bytes:
        if self._runtime.cancelled():
            raise Cancelled
        piece = await self._runtime.offload(self._read)
        if self._left is not None:
            self._left -= len(piece)
        if piece:
            return piece
        if self._left is not None and self._left > 0:
            raise Unreachable(self._host, f"the blob ended {self._left} bytes too early")
        raise StopAsyncIteration

    def _read(self) -> bytes:
        while self._skip:
            dropped = self._content.read(min(self._skip, PIECE))
            if not dropped:
                return b""
            self._skip -= len(dropped)
        # No more than is wanted: who knows no ranges would send all of it.
        return self._content.read(min(self._left or PIECE, PIECE))

    async def aclose(self) -> None:
        self._content.close()
