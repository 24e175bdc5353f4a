"""The bytes of one blob on their way, verified, and told about."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from ..client.events import Event, Failed
from ..client.reader import Reader
from ..oci.descriptor import Descriptor
from ..oci.digest import Digest, hasher
from ..oci.errors import DigestMismatch, WasmholdError
from ..ports.body import Body
from .call import Call
from .events import BlobDone, BlobProgress, BlobSkipped, BlobStarted, Pace
from .policy import Source


class Moving:
    """`ports.repository.BlobSource` of one blob; `silent`: nobody hears of it."""

    def __init__(self, call: Call, reader: Reader, source: Source, *, silent: bool = False) -> None:
        self._call, self._reader, self._source, self._silent = call, reader, source, silent
        self.runtime = call.connections.runtime
        self._begun_s: float | None = None
        self._broken: list[Failed] = []
        self._breaks = 0
        reader.tell = self._heard

    @property
    def descriptor(self) -> Descriptor:
        return self._reader.descriptor

    @property
    def failed(self) -> WasmholdError | None:
        """What came from the source and ended it."""
        return self._reader.failed

    def _heard(self, event: Event) -> None:
        if isinstance(event, Failed):
            self._broken.append(event)

    async def open(self, start: int) -> Body:
        if self._begun_s is None:
            self._begun_s = self.runtime.now()
            if not self._silent:
                descriptor = self.descriptor
                await self._call.tell(BlobStarted(descriptor.digest, descriptor.size, self._source))
        return _Told(self, await self._reader.open(start), start)

    async def told(self, at: int | None = None) -> None:
        """Tell that `at` bytes are there, and what was tried again meanwhile."""
        while self._broken:
            failed = self._broken.pop(0)
            self._breaks += 1
            place = f"{self._call.image.repository}@{failed.descriptor.digest}"
            await self._call.retry(place, self._breaks, failed.wait_s, failed.error)
        if at is not None and not self._silent:
            descriptor = self.descriptor
            await self._call.tell(BlobProgress(descriptor.digest, at, descriptor.size))

    async def done(self) -> None:
        """It has come whole; or it was there, or somebody else has fetched it."""
        if self._silent:
            return
        digest = self.descriptor.digest
        if self._begun_s is None:
            await self._call.tell(BlobSkipped(digest, "fetched by another"))
        else:
            seconds = self.runtime.now() - self._begun_s
            await self._call.tell(BlobDone(digest, self._source, seconds))


class _Told:
    file = None

    def __init__(self, moving: Moving, body: Body, start: int) -> None:
        self.size = body.size
        self._moving, self._body = moving, body
        self._chunks = aiter(body)
        self._at = start
        self._pace = Pace(moving.runtime.now)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await anext(self._chunks, b"")
        except WasmholdError:
            await self._moving.told()
            raise
        self._at += len(chunk)
        is_end = not chunk or self._at >= self._moving.descriptor.size
        await self._moving.told(self._at if chunk and (is_end or self._pace.is_due()) else None)
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        await self._body.aclose()


class Verified:
    """A body whose last chunk comes when all of it is known to be right."""

    file = None

    def __init__(self, body: Body, moving: Moving) -> None:
        self.size = body.size
        self._body, self._moving = body, moving
        self._chunks = aiter(body)
        self._hash, self._at = hasher(moving.descriptor.digest.algorithm), 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        chunk = await anext(self._chunks, b"")
        if chunk:
            await self._moving.runtime.offload(self._hash.update, chunk)
        self._at += len(chunk)
        descriptor = self._moving.descriptor
        if self._at == descriptor.size and self._hash.hexdigest() != descriptor.digest.encoded:
            actual = Digest(descriptor.digest.algorithm, self._hash.hexdigest())
            raise DigestMismatch(str(descriptor.digest), str(actual))
        if not chunk:
            await self._moving.done()
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        await self._body.aclose()


class Stream:
    """The bytes of a blob, a body (`ports.body.Body`): ``async for chunk in stream``.

    They are known to be right when the last of them comes; else iterating raises DigestMismatch,
    SizeInvalid, ContentDamaged, or what the place does where it breaks for good.  Close it, or use
    it in ``async with``.
    """

    file = None

    def __init__(self, body: Body, descriptor: Descriptor, held: AsyncExitStack) -> None:
        self.size: int | None = descriptor.size
        self.descriptor = descriptor
        self._body, self._held = body, held

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._body)

    async def aclose(self) -> None:
        async with self._held:
            await self._body.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()
