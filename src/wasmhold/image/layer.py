"""What a pull gives: a manifest, and layers that can be read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol, TypeVar

from ..oci import limits
from ..oci.descriptor import Descriptor
from ..oci.digest import Digest
from ..oci.errors import ContentDamaged, TooLarge
from ..ports.body import read_all
from .manifests import PulledManifest
from .moving import Stream
from .policy import Source

R = TypeVar("R")

MAX_IN_MEMORY: Final = 512 * limits.MIB  # bytes of a blob that is given as a whole


class Opening(Protocol):
    """What opens the blobs of a pull again, while its puller is open."""

    async def open(self, descriptor: Descriptor) -> Stream: ...
    def path(self, digest: Digest) -> str | None: ...


@dataclass(frozen=True, slots=True)
class LayerFacts:
    """One layer of a pull; `source` is where it came from."""

    descriptor: Descriptor
    source: Source
    _opening: Opening = field(repr=False, compare=False)

    @property
    def media_type(self) -> str:
        return self.descriptor.media_type

    @property
    def digest(self) -> Digest:
        return self.descriptor.digest

    @property
    def size(self) -> int:
        """Bytes of it, as they are stored."""
        return self.descriptor.size

    @property
    def path(self) -> str | None:
        """Where it lies, while the cache keeps it; None where that is on no disk."""
        return self._opening.path(self.digest)


@dataclass(frozen=True, slots=True)
class Layer(LayerFacts):
    """One layer of a pull, under asyncio."""

    async def open(self) -> Stream:
        """Its bytes; fetched again where the cache had no room for them."""
        return await self._opening.open(self.descriptor)

    async def read(self, *, max_size: int = MAX_IN_MEMORY) -> bytes:
        """All of its bytes, verified.  Raises TooLarge."""
        return await whole(self.open, self.descriptor, max_size)


async def twice(read: Callable[[], Awaitable[R]]) -> R:
    """What is damaged in a cache is dropped there as it is read: the second time it comes anew."""
    try:
        return await read()
    except ContentDamaged:
        return await read()


async def whole(
    opened: Callable[[], Awaitable[Stream]], descriptor: Descriptor, max_size: int
) -> bytes:
    """All bytes of a blob.  Raises TooLarge; what reading does."""
    if descriptor.size > max_size:
        raise TooLarge(max_size)

    async def read() -> bytes:
        async with await opened() as stream:
            return await read_all(stream)

    return await twice(read)


class PulledImage(NamedTuple):
    """Unpacks to manifest and layers; the layers in the manifest's order, the base first."""

    manifest: PulledManifest
    layers: list[Layer]
