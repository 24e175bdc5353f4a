"""What is about to be pushed: bytes, files and streams, each hashed before anything is asked for.

A stream is kept in a temporary file until it is sent: its digest is known at its end alone, and an
upload that breaks goes on from its middle.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator
from contextlib import ExitStack, aclosing
from types import TracebackType
from typing import Final, Protocol, Self, TypeAlias

from ..client.local import read_file
from ..client.places.files import translated, write_all
from ..client.places.made import Made
from ..oci.children import is_manifest
from ..oci.descriptor import Descriptor
from ..oci.digest import DEFAULT_ALGORITHM, Digest, hasher
from ..oci.limits import MIB
from ..oci.manifest import parse_manifest
from ..ports.runtime import Runtime
from ..ports.store import StoredManifest

OCTETS: Final = "application/octet-stream"
_PIECE: Final = MIB


class BinaryFile(Protocol):
    def read(self, size: int, /) -> bytes: ...


Path: TypeAlias = str | os.PathLike[str]
Stream: TypeAlias = BinaryFile | Iterable[bytes] | AsyncIterable[bytes]
AnyContent: TypeAlias = bytes | bytearray | memoryview | Path | Stream


class Material(Made):
    """The source of a copy, used in ``with``: its temporary files are gone at the end."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime, "what is pushed")
        self._held = ExitStack()
        self._folder: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._held.close()

    def add_manifest(self, stored: StoredManifest) -> None:
        self.manifests[stored.digest] = stored

    def forget(self, digest: Digest) -> None:
        """Whoever wants it finds it elsewhere."""
        self.contents.pop(digest, None)
        self.files.pop(digest, None)

    def blobs(self) -> Iterator[Digest]:
        """Those that the manifests refer to, in their order, each once."""
        found: dict[Digest, None] = {}
        for stored in self.manifests.values():
            manifest = parse_manifest(stored.content, stored.media_type)
            children = manifest.children
            found |= {
                c.digest: None for c in children if not (manifest.is_index and is_manifest(c))
            }
        return iter(found)

    async def add(self, content: AnyContent, algorithm: str = DEFAULT_ALGORITHM) -> Descriptor:
        """Read all of it.  A str is a path.

        Raises FileInvalid for a file that cannot be read; OutOfSpace; what a stream does.
        """
        if isinstance(content, bytes | bytearray | memoryview):
            held = bytes(content)
            digest = await self.runtime.offload(Digest.of, held, algorithm)
            self.contents[digest] = held
            return Descriptor(OCTETS, digest, len(held))
        if isinstance(content, str | os.PathLike):
            path = os.fspath(content)
            read = await self.runtime.offload(read_file, path, algorithm)
            digest, size = read.digest, read.size
        else:
            path, digest, size = await self._spool(content, algorithm)
        self.files[digest] = path, size
        return Descriptor(OCTETS, digest, size)

    async def _spool(self, stream: Stream, algorithm: str) -> tuple[str, Digest, int]:
        with translated(tempfile.gettempdir()):
            if self._folder is None:
                self._folder = self._held.enter_context(tempfile.TemporaryDirectory())
            descriptor, path = tempfile.mkstemp(dir=self._folder)
        running, size = hasher(algorithm), 0

        def take(chunk: bytes) -> None:
            running.update(chunk)
            with translated(path):
                write_all(descriptor, chunk)

        try:
            async with aclosing(self._chunks(stream)) as chunks:
                async for chunk in chunks:
                    size += len(chunk)
                    await self.runtime.offload(take, chunk)
        finally:
            os.close(descriptor)
        return path, Digest(algorithm, running.hexdigest()), size

    async def _chunks(self, stream: Stream) -> AsyncGenerator[bytes, None]:
        offload = self.runtime.offload
        if isinstance(stream, AsyncIterable):
            async for chunk in stream:
                yield chunk
        elif isinstance(stream, Iterable) and not hasattr(stream, "read"):
            chunks = iter(stream)
            while (piece := await offload(next, chunks, None)) is not None:
                yield bytes(memoryview(piece))  # not of a number: those would be zeros
        else:
            while piece := await offload(stream.read, _PIECE):
                yield piece
