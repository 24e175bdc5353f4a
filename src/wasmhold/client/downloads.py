"""Bytes of a blob from a registry, going on where a connection breaks.  Source: RFC 9110, 14."""

from __future__ import annotations

from typing import Final

from ..oci.digest import Digest
from ..oci.errors import BlobUnknown, Cancelled, Unreachable, WasmholdError
from ..oci.limits import MIB
from ..protocol import operations as op
from ..protocol import results as res
from ..protocol.errors import RemoteError
from ..protocol.ranges import ByteRange
from ..protocol.read_response import ResponseInvalid
from .scopes import to_pull
from .session import Session
from .transport import Readable
from .transport.port import PIECE

_PROGRESS: Final = 1 * MIB  # bytes that make up for a failure


async def open_blob(session: Session, name: str, digest: Digest, start: int) -> RemoteBody:
    """The blob from byte `start`.  Raises BlobUnknown."""
    body = RemoteBody(session, name, digest, start)
    await body.open()
    return body


class RemoteBody:
    """Unverified bytes: whoever reads them hashes them.  `size` is what is to come from `start`."""

    file = None

    def __init__(self, session: Session, name: str, digest: Digest, start: int) -> None:
        self.size: int | None = None
        self._session, self._name, self._digest = session, name, digest
        self._start, self._at = start, start
        self._content: Readable | None = None
        self._skip = 0  # bytes to throw away: the registry began at the beginning
        self._failures, self._counted = 0, start

    async def open(self) -> None:
        part = ByteRange(self._at, None) if self._at else None
        try:
            reply = await self._session.ask(
                op.GetBlob(self._name, self._digest, range=part), to_pull(self._name)
            )
        except RemoteError as error:
            if error.answer_status == 404:
                raise BlobUnknown(self._name, str(self._digest)) from error
            if error.answer_status == 416 and self._at:
                self._content, self.size = None, 0  # the place behind the last byte
                return
            raise
        found = reply.result
        assert isinstance(found, res.BlobFound)
        self._content = reply.body
        try:
            if found.part is not None and found.part[0] != self._at:
                raise ResponseInvalid(f"bytes from {self._at} were asked for, {found.part} came")
            if self.size not in (None, found.size - self._start):
                raise ResponseInvalid(f"the blob {self._digest} had another size before")
        except ResponseInvalid:
            await self.aclose()
            raise
        self.size = found.size - self._start
        self._skip = self._at if found.part is None else 0

    def __aiter__(self) -> RemoteBody:
        return self

    async def __anext__(self) -> bytes:
        runtime = self._session.network.runtime
        while True:
            if runtime.cancelled():
                raise Cancelled
            try:
                piece = await runtime.offload(self._read)
                if not piece and self.size is not None and self._at < self._start + self.size:
                    raise Unreachable(self._session.host, "the content ended before its end")
            except Unreachable as error:
                await self._again(error)
                continue
            if not piece:
                raise StopAsyncIteration
            self._at += len(piece)
            return piece

    def _read(self) -> bytes:
        if self._content is None:
            return b""
        while self._skip:
            dropped = self._content.read(min(self._skip, PIECE))
            if not dropped:
                return b""
            self._skip -= len(dropped)
        return self._content.read(PIECE)

    async def _again(self, error: WasmholdError) -> None:
        await self.aclose()
        if self._at - self._counted >= _PROGRESS:
            self._failures, self._counted = 0, self._at
        self._failures += 1
        await self._session.network.pause(self._failures, error)
        await self.open()

    async def aclose(self) -> None:
        content, self._content = self._content, None
        if content is not None:
            content.close()
