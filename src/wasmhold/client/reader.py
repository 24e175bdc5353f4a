"""The bytes of one blob on their way: read on from where they broke, told, and stopped in time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, Protocol, TypeVar, runtime_checkable

from ..oci.descriptor import Descriptor
from ..oci.digest import Digest
from ..oci.errors import BodyCut, Cancelled, ContentDamaged, SizeInvalid, WasmholdError
from ..oci.limits import MIB
from ..ports.body import Body
from ..ports.runtime import ClientRuntime
from .events import Advanced, Failed, Listener, Side

T = TypeVar("T")

MAX_BREAKS: Final = 5  # in a row, with less than STRIDE bytes between them
STRIDE: Final = MIB  # bytes: so much shows that a source is alive, and is told as advance

_PAUSE_S: Final = 0.2  # before the second try, then twice that, and so on
_PAUSE_MAX_S: Final = 5.0


class Opens(Protocol):
    """The part of a repository, or of a cache, that gives blobs."""

    async def blob_open(self, digest: Digest, start: int = 0) -> Body: ...


@runtime_checkable
class KeepsBlobs(Protocol):
    """A place that has a cache before it."""

    async def kept(self, reader: Reader, start: int) -> Body:
        """The bytes of the reader's blob from `start` on, from the cache where it can be."""
        ...


async def anew_if_damaged(source: object, attempt: Callable[[], Awaitable[T]]) -> T:
    """`attempt`; once more where the cache before `source` gave wrong bytes, and dropped them."""
    try:
        return await attempt()
    except ContentDamaged:
        if not isinstance(source, KeepsBlobs):
            raise
        return await attempt()


class Reader:
    """`ports.repository.BlobSource`: a blob of `source`, as `descriptor` says it is.

    `failed` is what came from the source and ended it, so that nobody else is blamed.
    """

    def __init__(
        self,
        source: Opens,
        descriptor: Descriptor,
        runtime: ClientRuntime,
        tell: Listener,
        stopped: Callable[[], bool],
    ) -> None:
        self.source, self.descriptor, self.runtime = source, descriptor, runtime
        self.tell, self.stopped = tell, stopped
        self.failed: WasmholdError | None = None

    async def open(self, start: int) -> Body:
        if isinstance(self.source, KeepsBlobs):
            return await self.source.kept(self, start)
        return self.direct(start)

    def direct(self, start: int) -> Body:
        """The bytes from `source` itself, whatever it keeps."""
        return _Reading(self, start)

    def fail(self, error: WasmholdError) -> WasmholdError:
        self.failed = error
        return error


class Direct:
    """`ports.repository.BlobSource`: what a reader reads, past the cache before its source.

    For who writes into that cache: the flight is its own, and it would wait for itself.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def open(self, start: int) -> Body:
        return self._reader.direct(start)


class _Reading:
    """One way through the bytes, from `at` to their end."""

    file = None

    def __init__(self, reader: Reader, at: int) -> None:
        self.size: int | None = reader.descriptor.size - at
        self._reader = reader
        self._at = at
        self._told = self._whole_at = at  # where it was told, and where it last broke
        self._breaks = 0
        self._body: Body | None = None
        self._chunks: AsyncIterator[bytes] | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        reader = self._reader
        while True:
            if reader.runtime.cancelled() or reader.stopped():
                raise Cancelled
            try:
                chunk = await self._next()
            except Cancelled:
                raise
            except WasmholdError as error:
                await self.aclose()
                await self._recover(error)
                continue
            if not chunk:
                raise StopAsyncIteration
            self._at += len(chunk)
            if self._at > reader.descriptor.size:
                raise reader.fail(SizeInvalid(reader.descriptor.size, self._at))
            if self._at - self._told >= STRIDE:
                self._tell()
            return chunk

    async def _next(self) -> bytes:
        """The next chunk, empty at the end.  Raises BodyCut when it comes too early."""
        reader, size = self._reader, self._reader.descriptor.size
        if self._chunks is None:
            body = self._body = await reader.source.blob_open(reader.descriptor.digest, self._at)
            if body.size is not None and body.size != size - self._at:
                raise SizeInvalid(size, self._at + body.size)
            self._chunks = aiter(body)
        chunk = await anext(self._chunks, b"")
        if not chunk and self._at < size:
            raise BodyCut
        return chunk

    async def _recover(self, error: WasmholdError) -> None:
        """Wait a little; then it may be tried from here.  Raises `error` when it may not."""
        reader = self._reader
        self._breaks = 1 if self._at - self._whole_at >= STRIDE else self._breaks + 1
        self._whole_at = self._at
        again = error.retryable and self._breaks <= MAX_BREAKS
        if not again:
            raise reader.fail(error)
        wait_s = min(_PAUSE_S * 2 ** (self._breaks - 1), _PAUSE_MAX_S)
        reader.tell(Failed(Side.SOURCE, reader.descriptor, error, again, wait_s))
        await reader.runtime.sleep(wait_s)

    def _tell(self) -> None:
        self._told = self._at
        self._reader.tell(Advanced(Side.SOURCE, self._reader.descriptor, self._at))

    async def aclose(self) -> None:
        body, self._body, self._chunks = self._body, None, None
        if body is not None:
            if self._told != self._at:
                self._tell()
            await body.aclose()
