"""Bytes of a blob from a registry.  Source: distribution-spec, "Pulling blobs"; RFC 9110, 14.

Where a connection breaks, `reader.Reader` opens the blob again from there.
"""

from __future__ import annotations

from ..oci.digest import Digest
from ..oci.errors import BlobUnknown, Cancelled, Unreachable
from ..ports.body import Body, BytesBody
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
    session: Session, name: str, digest: Digest, start: int, scopes: Scopes
) -> Body:
    """The blob from byte `start`, not verified.  Raises BlobUnknown."""
    part = ByteRange(start, None) if start else None
    try:
        reply = await session.ask(op.GetBlob(name, digest, range=part), scopes)
    except RemoteError as error:
        if error.answer_status == 404:
            raise BlobUnknown(name, str(digest)) from error
        if error.answer_status == 416 and start:
            return BytesBody()  # the place behind the last byte
        raise
    found = reply.result
    assert isinstance(found, res.BlobFound)
    assert reply.body is not None
    if found.part is not None and found.part[0] != start:
        reply.body.close()
        raise ResponseInvalid(f"bytes from {start} were asked for, those from {found.part[0]} came")
    # A registry that knows no ranges begins at the beginning.
    skip = start if found.part is None else 0
    return RemoteBody(session, reply.body, found.size - start, skip)


class RemoteBody:
    """`size` bytes of an answer, behind the first `skip` that nobody wants."""

    file = None

    def __init__(self, session: Session, content: Readable, size: int, skip: int) -> None:
        self.size: int | None = size
        self._session, self._content = session, content
        self._left, self._skip = size, skip

    def __aiter__(self) -> RemoteBody:
        return self

    async def __anext__(self) -> bytes:
        runtime = self._session.network.runtime
        if runtime.cancelled():
            raise Cancelled
        piece = await runtime.offload(self._read)
        self._left -= len(piece)
        if piece:
            return piece
        if self._left > 0:
            raise Unreachable(self._session.host, f"the blob ended {self._left} bytes too early")
        raise StopAsyncIteration

    def _read(self) -> bytes:
        while self._skip:
            dropped = self._content.read(min(self._skip, PIECE))
            if not dropped:
                return b""
            self._skip -= len(dropped)
        return self._content.read(PIECE)

    async def aclose(self) -> None:
        self._content.close()
