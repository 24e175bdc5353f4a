"""Layers become a tree of files: every method once, as a coroutine over the ports.

`wasmhold.image.LayerUnpacker` runs it under asyncio, `wasmhold.sync.LayerUnpacker` without a loop.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, aclosing, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Final, TypedDict, cast

from ...artifact.media_types import IMAGE_CONFIGS
from ...client.caches.port import CacheHandle
from ...client.events import Finished, Listener, Side, Started, nobody
from ...client.places import compression
from ...client.places.compression import Reader
from ...client.places.entries import Stream
from ...client.reader import Opens
from ...client.reader import Reader as BlobReader
from ...oci.descriptor import Descriptor
from ...oci.digest import Digest
from ...oci.errors import (
    ArchiveInvalid,
    ArtifactInvalid,
    DigestMismatch,
    ForeignLayerError,
    SizeInvalid,
)
from ...oci.manifest import Manifest
from ...ports.body import Body
from ...ports.runtime import ClientRuntime
from ..config import MAX_CONFIG, ImageConfig
from ..events import OnEvent, Teller, Warned
from . import staging
from .apply import Counts, Layer
from .kinds import Compression, is_foreign_layer
from .options import How, IdRange, LayerLimits, OnUnsafe, Owner, Special
from .reading import PIECE, LayerStream, Packed, Plain, as_file, reader_of

_ALGORITHM: Final = "sha256"


class UnpackOptions(TypedDict, total=False):
    """What an unpacker may be told; `How` says what each is."""

    limits: LayerLimits
    owner: Owner
    uids: Sequence[IdRange]
    gids: Sequence[IdRange]
    special: Special
    on_unsafe: OnUnsafe
    keep_setid: bool
    xattrs: bool
    strict: bool
    force: bool


@dataclass(frozen=True, slots=True)
class Unpacked:
    """One layer that was unpacked: digests and bytes as stored and without compression."""

    digest: Digest
    size: int
    diff_id: Digest
    unpacked_size: int
    compression: Compression
    counts: Counts
    warnings: tuple[str, ...] = ()


class Unpacker:
    """Unpacks layers, the base first, into the folder `root`; what is there is lower content.

    `atomic`: the tree appears whole, or nothing changes; None: where `root` is not there yet.  What
    was empty is empty again after an error.  Nobody else writes into `root` at the same time.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        how: How,
        running: Callable[[], AbstractContextManager[ClientRuntime]],
        atomic: bool | None = None,
        on_event: OnEvent | None = None,
        listener: Listener = nobody,
    ) -> None:
        self.root = os.fspath(root)
        self.how = how
        self._running, self._atomic = running, atomic
        self._on_event, self._listener = on_event, listener

    async def unpack_layer(
        self,
        stream: LayerStream,
        media_type: str,
        *,
        digest: Digest | str | None = None,
        diff_id: Digest | str | None = None,
    ) -> Unpacked:
        """Unpack one layer: bytes, an open file, or what gives chunks asynchronously.

        With `digest` it is compared with the bytes as they are stored, with `diff_id` without their
        compression.  Raises UnsafeEntry, ArchiveInvalid, LimitExceeded, ForeignLayerError,
        MissingExtraError, DigestMismatch; Denied, OutOfSpace, StoreUnavailable of the file system;
        what reading raises.
        """
        wanted = _Wanted(media_type, _digest(digest), _digest(diff_id))
        return (await self._unpack_all([(stream, wanted)]))[0]

    async def unpack_layers(self, layers: Sequence[tuple[LayerStream, str]]) -> list[Unpacked]:
        """Several layers with their media types, the base first, in one step where `atomic`.

        Raises as `unpack_layer`.
        """
        return await self._unpack_all([(stream, _Wanted(kind)) for stream, kind in layers])

    async def _unpack_all(self, layers: Sequence[tuple[LayerStream, _Wanted]]) -> list[Unpacked]:
        with self._running() as runtime:
            async with AsyncExitStack() as held:
                for stream, _ in layers:
                    if hasattr(stream, "aclose"):
                        held.push_async_callback(stream.aclose)
                work = [(reader_of(stream, runtime), wanted) for stream, wanted in layers]
                done = await runtime.offload(self._unpack, work, runtime.cancelled)
        await self._tell(done)
        return done

    async def unpack_image(self, manifest: Manifest, source: Opens | CacheHandle) -> list[Unpacked]:
        """All layers of an image out of `source`: a cache, or an open repository.

        They are compared with their digests and, where the image has a config that knows them,
        with its diff ids.  Raises as `unpack_layer`; BlobUnknown; ArtifactInvalid for an index, and
        for what is no image.
        """
        with self._running() as runtime:
            blobs = _engine(source, runtime)
            wanted = await self._wanted(manifest, blobs, runtime)
            async with AsyncExitStack() as held:
                work = []
                for layer, one in zip(manifest.layers, wanted, strict=True):
                    blob = _Blob(blobs, layer, runtime, self._listener)
                    held.push_async_callback(blob.aclose)
                    work.append((blob, one))
                done = await runtime.offload(self._unpack, work, runtime.cancelled)
        await self._tell(done)
        return done

    async def _wanted(
        self, manifest: Manifest, blobs: Opens, runtime: ClientRuntime
    ) -> list[_Wanted]:
        if manifest.is_index:
            raise ArtifactInvalid("an index has no layers: choose one of its images by platform")
        diff_ids: Sequence[Digest | None] = [None] * len(manifest.layers)
        of = manifest.config
        if of is not None and of.media_type in IMAGE_CONFIGS and of.size <= MAX_CONFIG:
            async with aclosing(_Blob(blobs, of, runtime, nobody)) as reader:
                config = ImageConfig.from_json(await runtime.offload(reader.whole))
            if len(config.diff_ids) != len(manifest.layers):
                raise ArtifactInvalid(
                    f"the image has {len(manifest.layers)} layers, and its config says "
                    f"{len(config.diff_ids)}"
                )
            diff_ids = config.diff_ids
        for number, layer in enumerate(manifest.layers):
            kind = Compression.of_media_type(layer.media_type)
            if kind is None and not self.how.force:
                raise ArtifactInvalid(f"layer {number} is no tar: its type is {layer.media_type}")
            self._check(layer.media_type, kind or Compression.NONE)
        return [
            _Wanted(layer.media_type, layer.digest, diff_id, layer.size)
            for layer, diff_id in zip(manifest.layers, diff_ids, strict=True)
        ]

    async def _tell(self, done: Iterable[Unpacked]) -> None:
        teller = Teller(self._on_event)
        for one in done:
            for text in one.warnings:
                await teller.tell(Warned("layer", text))

    # ---- what blocks

    def _check(self, media_type: str, kind: Compression) -> None:
        """Raises ForeignLayerError, MissingExtraError."""
        if is_foreign_layer(media_type) and not self.how.force:
            raise ForeignLayerError(media_type)
        if kind is Compression.ZSTD:
            compression.check_zstd()

    def _unpack(
        self, work: Sequence[tuple[Reader, _Wanted]], cancelled: Callable[[], bool]
    ) -> list[Unpacked]:
        done: list[Unpacked] = []
        # What is wrong with the first layer shows before anything is written.
        opened = [self._opened(*one, cancelled) for one in work[:1]]
        with self._folder() as root:
            for reader, wanted in work:
                packed = opened.pop() if opened else self._opened(reader, wanted, cancelled)
                done.append(self._apply(root, packed, wanted))
        return done

    @contextmanager
    def _folder(self) -> Iterator[int]:
        atomic = self._atomic
        if atomic is None:
            atomic = not os.path.lexists(self.root)
        with staging.beside(self.root) if atomic else staging.in_place(self.root) as root:
            yield root

    def _opened(self, reader: Reader, wanted: _Wanted, cancelled: Callable[[], bool]) -> Packed:
        """Before anything is written.  Raises as `_check`; ArchiveInvalid."""
        packed = Packed(reader, wanted.digest.algorithm if wanted.digest else _ALGORITHM, cancelled)
        if not packed.start():
            raise ArchiveInvalid("a layer of no bytes is no tar")
        self._check(wanted.media_type, Compression.of_content(packed.start()))
        return packed

    def _apply(self, root: int, packed: Packed, wanted: _Wanted) -> Unpacked:
        kind = Compression.of_content(packed.start())
        said = Compression.of_media_type(wanted.media_type)
        warnings = []
        if said not in (None, kind):
            text = f"a layer of type {wanted.media_type} has the compression {kind.value}"
            if self.how.strict:
                raise ArchiveInvalid(text)
            warnings.append(text)
        algorithm = wanted.diff_id.algorithm if wanted.diff_id else _ALGORITHM
        with _uncompressed(kind, packed) as opened:
            plain = Plain(opened, packed, self.how.limits, algorithm)
            stream = Stream(plain, PIECE)
            layer = Layer(root, self.how, self.root)
            layer.apply(stream)
            stream.drain()
            if not plain.size:
                raise ArchiveInvalid("a layer of no bytes is no tar")
        done = Unpacked(
            packed.digest(),
            packed.size,
            plain.digest(),
            plain.size,
            kind,
            layer.counts,
            (*warnings, *layer.counts.skipped),
        )
        wanted.compare(done)
        return done


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a layer shall be; None where nobody says it."""

    media_type: str
    digest: Digest | None = None
    diff_id: Digest | None = None
    size: int | None = None

    def compare(self, done: Unpacked) -> None:
        """Raises SizeInvalid, DigestMismatch."""
        if self.size not in (None, done.size):
            raise SizeInvalid(self.size or 0, done.size)
        for wanted, actual in ((self.digest, done.digest), (self.diff_id, done.diff_id)):
            if wanted not in (None, actual):
                raise DigestMismatch(str(wanted), str(actual))


class _Blob:
    """Reads a blob where things may block; what breaks goes on from there.  To be closed."""

    def __init__(
        self, blobs: Opens, descriptor: Descriptor, runtime: ClientRuntime, listener: Listener
    ) -> None:
        self._source = BlobReader(blobs, descriptor, runtime, listener, lambda: False)
        self._descriptor, self._runtime, self._tell = descriptor, runtime, listener
        self._body: Body | None = None
        self._is_told = False  # that it has come to its end
        self._reader: Reader | None = None

    def read(self, size: int, /) -> bytes:
        if self._reader is None:
            self._tell(Started(Side.SOURCE, self._descriptor))
            self._body = self._runtime.finish(self._source.open(0))
            self._reader = reader_of(self._body, self._runtime)
        piece = self._reader.read(size)
        if not piece and not self._is_told:
            self._is_told = True
            self._tell(Finished(Side.SOURCE, self._descriptor))
        return piece

    async def aclose(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            await body.aclose()

    def whole(self) -> bytes:
        """Raises DigestMismatch."""
        content = b"".join(iter(lambda: self.read(PIECE), b""))
        actual = Digest.of(content, self._descriptor.digest.algorithm)
        if actual != self._descriptor.digest:
            raise DigestMismatch(str(self._descriptor.digest), str(actual))
        return content


def _uncompressed(kind: Compression, packed: Packed) -> AbstractContextManager[Reader]:
    if kind is Compression.NONE:
        return nullcontext(packed)
    return compression.reading(kind.value, as_file(packed))


def _engine(source: Opens | CacheHandle, runtime: ClientRuntime) -> Opens:
    """An open repository, or the cache that a handle stands for."""
    engine = getattr(source, "engine", None)
    return cast(Opens, source) if engine is None else cast(Opens, engine(runtime))


def _digest(text: Digest | str | None) -> Digest | None:
    return Digest.parse(text) if isinstance(text, str) else text
