"""Where bytes lie: the parts that an upload session has staged, and reading them as one blob."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from dataclasses import dataclass
from typing import NamedTuple, Self

from ...oci.errors import ContentDamaged
from . import keys
from .port import Absent, Bucket


class Part(NamedTuple):
    """One object under the session's ``data/``; `size` in bytes, never zero."""

    name: str
    size: int


def write_parts(parts: Iterable[Part]) -> str:
    """The parts as the rest of a payload: a space, name, space, size, for each."""
    return "".join(f" {part.name} {part.size}" for part in parts)


def read_parts(words: list[str]) -> tuple[Part, ...]:
    return tuple(Part(n, int(size)) for n, size in zip(words[::2], words[1::2], strict=True))


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of a blob: the parts, in order, that `upload` owns.

    It is the payload of a blob and of each link to it: ``<upload> <size>{ <part> <size>}``.
    """

    upload: str
    parts: tuple[Part, ...]

    @classmethod
    def parse(cls, payload: str) -> Self:
        upload, _, *words = payload.split(" ")
        return cls(upload, read_parts(words))

    def __str__(self) -> str:
        return f"{self.upload} {self.size}{write_parts(self.parts)}"

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)


def size_of(payload: str) -> int:
    """`Content.size` without the rest."""
    return int(payload.split(" ", 2)[1])


def upload_of(payload: str) -> str:
    """`Content.upload` without the rest."""
    return payload.partition(" ")[0]


async def read_content(
    bucket: Bucket, content: Content, start: int, stop: int
) -> AsyncGenerator[bytes, None]:
    """Bytes `start` to `stop` (one past the last).  Raises ContentDamaged when a part is not there.

    That happens to a reader who is so slow that the blob was deleted and collected behind it.
    """
    begin = 0
    for part in content.parts:
        first, last = max(start - begin, 0), min(stop - begin, part.size)
        begin += part.size
        if first < last:
            key = keys.data(content.upload, part.name)
            try:
                async for piece in bucket.read_data(key, first, last):
                    yield piece
            except Absent as error:
                raise ContentDamaged(f"{key} is not there any more") from error


class ContentBody:
    """A blob, or a range of it, as a Body."""

    file = None

    def __init__(self, bucket: Bucket, content: Content, start: int, stop: int) -> None:
        self.size: int | None = stop - start
        self._chunks = read_content(bucket, content, start, stop)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks

    async def aclose(self) -> None:
        await self._chunks.aclose()
