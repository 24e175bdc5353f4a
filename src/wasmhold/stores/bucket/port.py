"""What a store needs from an object store: eight calls, each of one object or one page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, NamedTuple, Protocol

PAGE: Final = 1000  # entries of a page at most: what every object store's LIST gives at once


class BucketError(Exception):
    """What a bucket says of a request; the store decides what it means, and nobody else hears it.

    The rest is said in errors of `oci`: StoreUnavailable for a read that failed, OutOfSpace.
    """


class Conflict(BucketError):
    """Refused: the key exists (create), or its ETag is another (replace, remove)."""


class Ambiguous(BucketError):
    """A write was applied, or was not, or will be later."""


class Unsupported(BucketError):
    """This object store cannot do it."""


class Absent(BucketError):
    """There is no object with this key."""


class Entry(NamedTuple):
    """A line of a listing; `size` in bytes."""

    key: str
    size: int
    etag: str
    modified: float  # seconds since 1970, by the object store's own clock; for ages alone


class Page(NamedTuple):
    entries: list[Entry]
    more: bool  # there may be keys behind the last entry; False: there are none


class Bucket(Protocol):
    """Objects by key.  Strongly consistent: what was written is there for everybody who asks.

    Every write may raise Ambiguous, and OutOfSpace; every call StoreUnavailable, which for a
    write means: not applied, and it will not be.
    """

    async def get(self, key: str) -> tuple[bytes, str] | None:
        """A small object and its ETag."""
        ...

    async def create(self, key: str, body: bytes) -> str:
        """Write the object if there is none; its ETag.  Raises Conflict."""
        ...

    async def replace(self, key: str, body: bytes, etag: str) -> str:
        """Write the object if it is the one with this ETag; the new ETag.  Raises Conflict.

        Two bodies that are equal may have equal ETags; two that differ never.
        """
        ...

    async def remove(self, key: str, etag: str) -> None:
        """Delete the object if it is the one with this ETag.  Raises Conflict; Unsupported.

        No error when there is no such key.
        """
        ...

    async def delete(self, key: str) -> None:
        """Delete whatever is there, if anything."""
        ...

    async def put_data(self, key: str, chunks: AsyncIterator[bytes]) -> int:
        """Write a large object, whole or not at all; its size in bytes.

        When `chunks` raises, nothing is written and the error goes on to the caller.
        """
        ...

    async def has(self, key: str) -> bool: ...

    def read_data(self, key: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """Bytes `start` to `stop` (one past the last), in pieces of at most 256 KiB.

        Raises Absent before the first piece.
        """
        ...

    async def list(self, prefix: str, after: str, limit: int = PAGE) -> Page:
        """Objects whose key begins with `prefix` and is behind `after`, in byte order.

        At most `limit` of them, and at most PAGE; fewer is no sign of the end, `more` is.
        """
        ...
