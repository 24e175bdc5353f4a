"""What every cache must do: run `check_cache` against yours.

    from wasmhold.testing.cache_suite import check_cache

    def test_my_cache():
        check_cache(lambda runtime: MyCache(runtime, ...))

Each check gets a cache of its own, which is empty.  Source: `client.caches.port`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from ..client.caches.port import Cache, Record, RecordKey
from ..client.runtime import ThreadRuntime
from ..oci.descriptor import Descriptor
from ..oci.digest import Digest
from ..oci.errors import (
    BlobUnknown,
    DigestMismatch,
    ManifestInvalid,
    StoreUnavailable,
)
from ..oci.limits import MIB
from ..ports.runtime import ClientRuntime, run
from ..ports.store import StoredManifest
from .repository_suite import (
    Source,
    descriptor_of,
    image,
    index,
    named,
    refuse_wrong_bytes,
    refused,
)
from .repository_suite import pull as read

Check = Callable[[Cache, ClientRuntime], Coroutine[Any, Any, None]]

CACHE_CHECKS: Final[dict[str, Check]] = {}


def check_cache(
    make: Callable[[ClientRuntime], Cache],
    names: Sequence[str] | None = None,
    *,
    drive: Callable[[Coroutine[Any, Any, None]], object] = run,
    runtime: Callable[[], ClientRuntime] = ThreadRuntime,
) -> None:
    """Run the checks, or those that are named.  Raises AssertionError, or what the cache raises."""

    async def checked(check: Check) -> None:
        one = runtime()
        await check(make(one), one)

    for name in names if names is not None else CACHE_CHECKS:
        drive(checked(CACHE_CHECKS[name]))


def _check(check: Check) -> Check:
    CACHE_CHECKS[check.__name__.replace("_", "-")] = check
    return check


async def keep(cache: Cache, content: bytes, algorithm: str = "sha256") -> Descriptor:
    descriptor = descriptor_of(content, algorithm=algorithm)
    await cache.blob_put(descriptor, Source(content))
    return descriptor


# ---- blobs


@_check
async def a_blob_comes_back_from_any_byte(cache: Cache, runtime: ClientRuntime) -> None:
    for algorithm in ("sha256", "sha512"):
        content = bytes(range(256)) * 5000
        descriptor = await keep(cache, content, algorithm)
        assert await cache.blob_size(descriptor.digest) == len(content)
        for start in (0, 1, 999, 1000, len(content) - 1, len(content)):
            assert await read(cache, descriptor.digest, start) == content[start:]


@_check
async def an_empty_blob_is_a_blob(cache: Cache, runtime: ClientRuntime) -> None:
    descriptor = await keep(cache, b"")
    assert await cache.blob_size(descriptor.digest) == 0
    assert await read(cache, descriptor.digest) == b""


@_check
async def what_is_there_is_not_read_again(cache: Cache, runtime: ClientRuntime) -> None:
    descriptor, source = await keep(cache, b"once"), Source(b"once")
    await cache.blob_put(descriptor, source)
    assert source.opened == []
    assert [kept.digest async for kept in cache.blobs()] == [descriptor.digest]


@_check
async def what_is_not_there(cache: Cache, runtime: ClientRuntime) -> None:
    digest, key = Digest.of(b"nobody has this"), RecordKey("h", "n", "t")
    assert await cache.blob_size(digest) is None
    await refused(BlobUnknown, cache.blob_open(digest))
    assert await cache.manifest_get(digest) is None
    assert await cache.record_get(key) is None
    await cache.blob_delete(digest)
    await cache.manifest_delete(digest)
    await cache.record_delete(key)
    assert [kept async for kept in cache.blobs()] == []
    assert [kept async for kept in cache.manifests()] == []
    assert [record async for record in cache.records()] == []


@_check
async def wrong_bytes_are_never_kept(cache: Cache, runtime: ClientRuntime) -> None:
    await refuse_wrong_bytes(cache)


@_check
async def a_blob_goes(cache: Cache, runtime: ClientRuntime) -> None:
    gone, stays = await keep(cache, b"gone"), await keep(cache, b"stays")
    await cache.blob_delete(gone.digest)
    await refused(BlobUnknown, cache.blob_open(gone.digest))
    assert [(kept.digest, kept.size) async for kept in cache.blobs()] == [(stays.digest, 5)]


# ---- one flight


@_check
async def one_of_many_reads_the_source(cache: Cache, runtime: ClientRuntime) -> None:
    content = b"wasm" * (MIB // 2)
    descriptor, source = descriptor_of(content), Source(content)

    async def put(_: int) -> bytes:
        await cache.blob_put(descriptor, source)
        return await read(cache, descriptor.digest)

    assert await runtime.map(put, range(8), 8) == [content] * 8
    assert len(source.opened) == 1


@_check
async def when_one_fails_the_next_goes_on(cache: Cache, runtime: ClientRuntime) -> None:
    content = b"wasm" * (MIB // 2)
    descriptor = descriptor_of(content)
    sources = [Source(content[: MIB // 2], error=StoreUnavailable("simulated")) for _ in range(3)]
    sources.append(Source(content))

    async def put(source: Source) -> bool:
        try:
            await cache.blob_put(descriptor, source)
        except StoreUnavailable:
            return False
        return True

    done = await runtime.map(put, sources, len(sources))
    assert done[-1]
    assert sum(len(source.opened) for source in sources) <= len(sources)
    assert await read(cache, descriptor.digest) == content


# ---- manifests


@_check
async def a_manifest_comes_back_byte_for_byte(cache: Cache, runtime: ClientRuntime) -> None:
    for algorithm in ("sha256", "sha512"):
        stored = image(descriptor_of(b"config"), algorithm=algorithm)
        await cache.manifest_put(stored)
        assert await cache.manifest_get(stored.digest) == stored
        await cache.manifest_put(index(stored))
    assert await cache.manifest_get(index(stored).digest) == index(stored)


@_check
async def a_manifest_that_is_something_else_is_refused(
    cache: Cache, runtime: ClientRuntime
) -> None:
    stored = image(descriptor_of(b"config"))
    lie = StoredManifest(Digest.of(b"other"), stored.media_type, stored.content)
    await refused(DigestMismatch, cache.manifest_put(lie))
    text = StoredManifest(Digest.of(b"{}"), stored.media_type, b"{}")
    await refused(ManifestInvalid, cache.manifest_put(text))
    assert [kept async for kept in cache.manifests()] == []


@_check
async def manifests_are_no_blobs(cache: Cache, runtime: ClientRuntime) -> None:
    stored = image(descriptor_of(b"config"))
    await cache.manifest_put(stored)
    await refused(BlobUnknown, cache.blob_open(stored.digest))
    await keep(cache, stored.content)
    await cache.manifest_delete(stored.digest)
    assert await cache.manifest_get(stored.digest) is None
    assert await read(cache, stored.digest) == stored.content
    assert [kept.size async for kept in cache.blobs()] == [len(stored.content)]


# ---- records


def record(host: str, name: str, tag: str, text: str = "", size: int = 1) -> Record:
    top = named(image(descriptor_of(text.encode())))
    return Record(RecordKey(host, name, tag), top, text or f"{host}/{name}", float(size))


@_check
async def a_record_is_what_was_put_last(cache: Cache, runtime: ClientRuntime) -> None:
    first, second = record("h:5000", "a/b", "1", "as written"), record("h:5000", "a/b", "1", "new")
    for one in (first, second):
        await cache.record_put(one)
        assert await cache.record_get(one.key) == one
    assert [found async for found in cache.records()] == [second]
    await cache.record_delete(first.key)
    assert await cache.record_get(first.key) is None


@_check
async def no_name_hides_another(cache: Cache, runtime: ClientRuntime) -> None:
    keys = [
        *(("h", "a", tag) for tag in ("b", "B", "_tags", "sha256:" + "a" * 64, "x" * 128)),
        *(("h", name, "b") for name in ("a/_tags", "a/b", "a%2Fb", "a/B", "_tags/a", "é")),
        *((host, "a", "b") for host in ("h:1", "h%3A1", "[::1]:1", "H", "digest-h")),
        *((part, part, part) for part in ("..", ".", "", "/", "../../x", "a/../..", "%", "\0")),
        *((part, part, part) for part in ("~", "\\", "a\nb", "n" * 300, "\udc80", "CON", "*")),
    ]
    records = [record(*key, text=f"number {number}") for number, key in enumerate(keys)]
    for one in records:
        await cache.record_put(one)
    assert [found async for found in cache.records()] == sorted(records, key=lambda one: one.key)
    for one in records:
        assert await cache.record_get(one.key) == one
        await cache.record_delete(one.key)
        assert await cache.record_get(one.key) is None
    assert [found async for found in cache.records()] == []


@_check
async def a_prefix_is_exactly_that(cache: Cache, runtime: ClientRuntime) -> None:
    for name, tag in (("a_b", "1"), ("a_b", "2"), ("axb", "1"), ("A_b", "1")):
        await cache.record_put(record("h", name, tag))
    await cache.record_put(record("i", "a", "1"))
    wanted = {
        "": 5, "h": 4, "h/": 4, "h/a_": 2, "h/a_b:": 2, "h/a_b:1": 1, "h/a%": 0, "H": 0, "i/a:1": 1,
    }  # fmt: skip
    for prefix, count in wanted.items():
        found = [str(one.key) async for one in cache.records(prefix)]
        assert len(found) == count, prefix
        assert all(text.startswith(prefix) for text in found)
