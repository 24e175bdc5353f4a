"""Bytes that come in are counted and hashed, once, before anybody sees them as content."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from ..oci import limits
from ..oci.descriptor import Descriptor
from ..oci.digest import Digest, Hasher, hasher
from ..oci.errors import ContentDamaged, DigestMismatch, ManifestTooLarge, SizeInvalid
from ..oci.manifest import Manifest, parse_manifest
from ..ports.repository import BlobSource
from ..ports.runtime import Runtime
from ..ports.store import StoredManifest


async def pour(
    source: BlobSource,
    descriptor: Descriptor,
    runtime: Runtime,
    write: Callable[[bytes], object],
    begun: tuple[Hasher, int] | None = None,
) -> None:
    """Give every chunk of `source` to `write`, which may block.

    `begun`: the hash and the number of the bytes that are written already.  Raises SizeInvalid as
    soon as there are too many bytes, or at the end; DigestMismatch at the end; what `source` and
    `write` raise.
    """
    running, size = begun or (hasher(descriptor.digest.algorithm), 0)
    async with aclosing(await source.open(size)) as body:
        async for chunk in body:
            size += len(chunk)
            if size > descriptor.size:
                raise SizeInvalid(descriptor.size, size)
            # One way to a thread for both.
            await runtime.offload(_take, running, write, chunk)
    _check_end(descriptor, running, size)


async def verified(
    source: BlobSource, descriptor: Descriptor, runtime: Runtime
) -> AsyncGenerator[bytes, None]:
    """Every chunk of `source`, for who takes chunks; raises as `pour`, at the end at the latest."""
    running, size = hasher(descriptor.digest.algorithm), 0
    async with aclosing(await source.open(0)) as body:
        async for chunk in body:
            size += len(chunk)
            if size > descriptor.size:
                raise SizeInvalid(descriptor.size, size)
            await runtime.offload(running.update, chunk)
            yield chunk
    _check_end(descriptor, running, size)


def _check_end(descriptor: Descriptor, running: Hasher, size: int) -> None:
    if size != descriptor.size:
        raise SizeInvalid(descriptor.size, size)
    if running.hexdigest() != descriptor.digest.encoded:
        actual = Digest(descriptor.digest.algorithm, running.hexdigest())
        raise DigestMismatch(str(descriptor.digest), str(actual))


def _take(running: Hasher, write: Callable[[bytes], object], chunk: bytes) -> None:
    running.update(chunk)
    write(chunk)


def checked(stored: StoredManifest) -> Manifest:
    """What a manifest says that is about to be stored.

    Raises DigestMismatch; ManifestTooLarge; ManifestInvalid.
    """
    if len(stored.content) > limits.MANIFEST:
        raise ManifestTooLarge(limits.MANIFEST)
    actual = Digest.of(stored.content, stored.digest.algorithm)
    if actual != stored.digest:
        raise DigestMismatch(str(stored.digest), str(actual))
    return parse_manifest(stored.content, stored.media_type)


def read_back(place: str, digest: Digest, content: bytes) -> bytes:
    """`content` itself when it is what was stored.  Raises ContentDamaged."""
    if Digest.of(content, digest.algorithm) != digest:
        raise ContentDamaged(f"{place}: the content of {digest} is damaged: get it anew")
    return content
