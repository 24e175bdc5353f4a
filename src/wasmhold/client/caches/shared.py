"""A cache in an object store, which any number of machines share.

    sha256/HEX, sha512/HEX                blobs
    manifests/sha256/HEX, …               manifests
    refs/HOST/NAME/_tags/TAG.json         records (`records.py`)

- An object appears under its name when its bytes are known to be right.  They are verified again
  as they come back: what anybody else has put there is dropped, and is a miss.
- Two machines that put the same blob at once both send it: the bytes are the same.
- **A store that fails is left alone for a while.**  The first failures are told by errors; from the
  third in a row on it is as if nothing were cached, and nothing is kept, for half a minute.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Final, Self

from ...oci.descriptor import Descriptor
from ...oci.digest import HEX_LENGTH, Digest, hasher
from ...oci.errors import (
    BlobUnknown,
    ContentDamaged,
    DigestInvalid,
    ManifestInvalid,
    MissingExtraError,
    OutOfSpace,
    StoreUnavailable,
    WasmholdError,
)
from ...oci.manifest import parse_manifest
from ...ports.body import Body, ChunksBody
from ...ports.repository import BlobSource
from ...ports.runtime import ClientRuntime
from ...ports.store import StoredManifest
from ...stores.bucket.port import Absent, Ambiguous, Entry
from ..verify import checked, read_back, verified
from .blob_cache import BlobCache
from .methods import CacheMethods
from .port import Cache, Kept, Record, RecordKey
from .records import FOLDER, dump_record, host_folder, parse_record, record_path
from .shared_config import ObjectCacheConfig
from .tiered import TieredCache
from .turn import wait_for

if TYPE_CHECKING:
    from ...stores.bucket.obstore import Connection, ObstoreBucket

FAILURES: Final = 3  # in a row
REST_S: Final = 30.0

_MANIFESTS: Final = "manifests/"
_SIDE_BY_SIDE: Final = 16  # records that are read for one list


class ObjectCache(CacheMethods):
    """A cache in an object store; ``file://`` and ``memory://`` are for trying it out.

    It is made without asking the store for anything.  Raises MissingExtraError; what
    `BlobCache.open` raises, for the folder in front of it.
    """

    max_size = None

    def __init__(self, config: ObjectCacheConfig) -> None:
        self.config, self.place = config, config.place
        self._connection = _connect(config)
        self._outages, self._flights = Outages(), _Flights()
        self._local: BlobCache | None = None
        if config.local_dir is not None:
            self._local = BlobCache.open(config.local_dir, max_size=config.local_max_size)

    @classmethod
    async def open(cls, config: ObjectCacheConfig) -> Self:
        """The same as the constructor."""
        return cls(config)

    def engine(self, runtime: ClientRuntime) -> Cache:
        from ...stores.bucket.obstore import ObstoreBucket  # noqa: PLC0415

        bucket = ObstoreBucket(self._connection, runtime, self.config.key_prefix)
        cache = BucketCache(bucket, self.place, runtime, self._outages, self._flights)
        return cache if self._local is None else TieredCache(self._local.engine(runtime), cache)

    def key_for_digest(self, digest: Digest | str) -> str:
        """The name of a blob's object in its bucket.  Raises DigestInvalid."""
        parsed = Digest.parse(digest) if isinstance(digest, str) else digest
        return f"{self.config.key_prefix}{_blob_key(parsed)}"


def _connect(config: ObjectCacheConfig) -> Connection:
    try:
        from ...stores.bucket.obstore import connect  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "obstore":
            raise
        raise MissingExtraError("s3") from None
    return connect(
        config.store_url,
        region=config.region,
        endpoint=config.endpoint,
        path_style=config.path_style,
        access_key_id=config.access_key_id,
        secret_access_key=config.secret_access_key,
        session_token=config.session_token,
    )


class Outage:
    """Whether a store has a rest from one kind of request; several threads tell of it."""

    def __init__(self) -> None:
        self._failures = 0
        self._until_s = 0.0
        self._lock = threading.Lock()

    def is_resting(self, now: float) -> bool:
        # A clock that was put back does not make it a long one.
        return now < self._until_s <= now + REST_S

    def failed(self, now: float) -> None:
        with self._lock:
            self._failures += 1
            if self._failures >= FAILURES:
                self._until_s = now + REST_S

    def answered(self) -> None:
        with self._lock:
            self._failures = 0


class Outages:
    """Of reads and of writes: who may only read is refused the others, and reads on."""

    def __init__(self) -> None:
        self.reads, self.writes = Outage(), Outage()

    def failed(self, now: float, *, refused_write: bool) -> None:
        self.writes.failed(now)
        if not refused_write:
            self.reads.failed(now)

    def answered(self, *, write: bool) -> None:
        self.reads.answered()
        if write:
            self.writes.answered()


class _Flights:
    """Blobs that are on their way from this process."""

    def __init__(self) -> None:
        self._coming: set[Digest] = set()
        self._lock = threading.Lock()

    def begin(self, digest: Digest) -> bool | None:
        with self._lock:
            if digest in self._coming:
                return None
            self._coming.add(digest)
            return True

    def end(self, digest: Digest) -> None:
        with self._lock:
            self._coming.discard(digest)


class _FromSource(Exception):
    """What came from whoever gave us a blob, and says nothing about the store."""

    def __init__(self, error: WasmholdError) -> None:
        super().__init__(error)
        self.error = error


class BucketCache:
    """`caches.port.Cache` in a bucket."""

    def __init__(
        self,
        bucket: ObstoreBucket,
        place: str,
        runtime: ClientRuntime,
        outages: Outages,
        flights: _Flights,
    ) -> None:
        self.place = place
        self._bucket, self._runtime = bucket, runtime
        self._outages, self._flights = outages, flights

    def _is_resting(self, outage: Outage) -> bool:
        return outage.is_resting(self._runtime.now())

    @contextmanager
    def _asked(self, *, write: bool = False) -> Iterator[None]:
        """Count how the store answers what is asked inside."""
        try:
            yield
        except (StoreUnavailable, OutOfSpace) as error:
            refused_write = write and not error.retryable
            self._outages.failed(self._runtime.now(), refused_write=refused_write)
            raise
        except Ambiguous as error:
            self._outages.failed(self._runtime.now(), refused_write=False)
            raise StoreUnavailable(str(error)) from None
        except (Absent, ContentDamaged):
            self._outages.answered(write=write)
            raise
        self._outages.answered(write=write)

    # ---- blobs

    async def blob_size(self, digest: Digest) -> int | None:
        if self._is_resting(self._outages.reads):
            return None
        with self._asked():
            return await self._bucket.size(_blob_key(digest))

    async def blob_open(self, digest: Digest, start: int = 0) -> Body:
        key = _blob_key(digest)
        if self._is_resting(self._outages.reads):
            raise BlobUnknown(self.place, str(digest))
        try:
            with self._asked():
                if not start:
                    size, chunks = await self._bucket.open_data(key)
                    return ChunksBody(size, self._checked(digest, chunks))
                size = await self._bucket.size(key) or 0
                if size < start:
                    raise Absent(key)
                return ChunksBody(size - start, self._rest(key, start, size))
        except Absent:
            raise BlobUnknown(self.place, str(digest)) from None

    async def _rest(self, key: str, start: int, size: int) -> AsyncGenerator[bytes, None]:
        async with aclosing(self._bucket.read_data(key, start, size)) as chunks:
            with self._asked():
                async for chunk in chunks:
                    yield chunk

    async def _checked(
        self, digest: Digest, chunks: AsyncGenerator[bytes, None]
    ) -> AsyncGenerator[bytes, None]:
        """The last chunk comes when all of them are known to be right."""
        running, held = hasher(digest.algorithm), b""
        async with aclosing(chunks):
            with self._asked():
                async for chunk in chunks:
                    if held:
                        yield held
                    held = chunk
                    await self._runtime.offload(running.update, chunk)
        if running.hexdigest() != digest.encoded:
            await self._drop(_blob_key(digest))
            raise ContentDamaged(f"{self.place}: the content of {digest} is damaged: get it anew")
        if held:
            yield held

    async def _drop(self, key: str) -> None:
        """Remove what is no content of ours, where we may."""
        try:
            with self._asked(write=True):
                await self._bucket.delete(key)
        except (StoreUnavailable, OutOfSpace):
            pass  # whoever reads it next finds it damaged again

    async def blob_put(self, descriptor: Descriptor, source: BlobSource) -> None:
        digest = descriptor.digest
        if self._is_resting(self._outages.writes):
            return
        await wait_for(
            lambda: self._flights.begin(digest),
            self._runtime,
            lambda _: self._flights.end(digest),
        )
        try:
            if await self.blob_size(digest) != descriptor.size:
                await self._send(descriptor, source)
        finally:
            self._flights.end(digest)

    async def _send(self, descriptor: Descriptor, source: BlobSource) -> None:
        chunks = _blamed(verified(source, descriptor, self._runtime))
        try:
            with self._asked(write=True):
                async with aclosing(chunks):
                    await self._bucket.put_data(_blob_key(descriptor.digest), chunks)
        except _FromSource as error:
            raise error.error from None

    async def blob_delete(self, digest: Digest) -> None:
        with self._asked(write=True):
            await self._bucket.delete(_blob_key(digest))

    async def blobs(self) -> AsyncIterator[Kept]:
        async for kept in self._kept(""):
            yield kept

    async def _kept(self, prefix: str) -> AsyncIterator[Kept]:
        for algorithm in HEX_LENGTH:
            folder = f"{prefix}{algorithm}/"
            async for entry in self._entries(folder):
                try:
                    digest = Digest.parse(f"{algorithm}:{entry.key.removeprefix(folder)}")
                except DigestInvalid:
                    continue  # somebody else's
                yield Kept(digest, entry.size, entry.modified)

    async def _entries(self, prefix: str) -> AsyncIterator[Entry]:
        after, more = "", True
        while more:
            with self._asked():
                page, more = await self._bucket.list(prefix, after)
            for entry in page:
                yield entry
                after = entry.key

    # ---- manifests

    async def manifest_get(self, digest: Digest) -> StoredManifest | None:
        content = await self._small(_manifest_key(digest))
        if content is None:
            return None
        try:
            read_back(self.place, digest, content)
            return StoredManifest(digest, parse_manifest(content).media_type, content)
        except (ContentDamaged, ManifestInvalid):
            await self._drop(_manifest_key(digest))
            return None

    async def _small(self, key: str) -> bytes | None:
        if self._is_resting(self._outages.reads):
            return None
        try:
            with self._asked():
                found = await self._bucket.get(key)
        except ContentDamaged:
            await self._drop(key)
            return None
        return None if found is None else found[0]

    async def manifest_put(self, stored: StoredManifest) -> None:
        checked(stored)
        await self._keep(_manifest_key(stored.digest), stored.content)

    async def _keep(self, key: str, content: bytes) -> None:
        if not self._is_resting(self._outages.writes):
            with self._asked(write=True):
                await self._bucket.put_data(key, _once(content))

    async def manifest_delete(self, digest: Digest) -> None:
        with self._asked(write=True):
            await self._bucket.delete(_manifest_key(digest))

    async def manifests(self) -> AsyncIterator[Kept]:
        async for kept in self._kept(_MANIFESTS):
            yield kept

    # ---- records

    async def record_get(self, key: RecordKey) -> Record | None:
        content = await self._small(record_path(key))
        record = None if content is None else parse_record(content)
        return record if record is not None and record.key == key else None

    async def record_put(self, record: Record) -> None:
        await self._keep(record_path(record.key), dump_record(record))

    async def record_delete(self, key: RecordKey) -> None:
        with self._asked(write=True):
            await self._bucket.delete(record_path(key))

    async def records(self, prefix: str = "") -> AsyncIterator[Record]:
        host, slash, _ = prefix.partition("/")
        keys = [e.key async for e in self._entries(f"{host_folder(host) if slash else FOLDER}/")]
        found = await self._runtime.map(self._listed, keys, _SIDE_BY_SIDE)
        matching = [r for r in found if r is not None and str(r.key).startswith(prefix)]
        for record in sorted(matching, key=lambda record: record.key):
            yield record

    async def _listed(self, name: str) -> Record | None:
        with self._asked():
            content = await self._bucket.get(name)
        record = None if content is None else parse_record(content[0])
        # One that was copied to another name by hand would be there twice.
        return record if record is not None and record_path(record.key) == name else None


def _blob_key(digest: Digest) -> str:
    return f"{digest.algorithm}/{digest.encoded}"


def _manifest_key(digest: Digest) -> str:
    return f"{_MANIFESTS}{_blob_key(digest)}"


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def _blamed(chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(chunks):
        try:
            async for chunk in chunks:
                yield chunk
        except WasmholdError as error:
            raise _FromSource(error) from None
