"""The images of a cache: its records, and what they lead to."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...oci.children import is_manifest
from ...oci.descriptor import Descriptor
from ...oci.digest import Digest
from ...oci.errors import ManifestUnknown, TagInvalid
from ...oci.manifest import parse_manifest
from ...oci.reference import Reference
from .port import Cache, Record, RecordKey


@dataclass(frozen=True, slots=True)
class CachedImage:
    """A record, and the bytes of configs and layers of its manifests that are cached.

    What several images share is counted for each of them.
    """

    record: Record
    size: int

    @property
    def reference(self) -> str:
        return str(self.record.key)


async def images(cache: Cache) -> list[CachedImage]:
    """All of them, in the order of their names."""
    records = [record async for record in cache.records()]
    return [CachedImage(record, await _size(cache, record.top)) for record in records]


async def _size(cache: Cache, top: Descriptor) -> int:
    blobs: dict[Digest, int] = {}
    todo, seen = [top.digest], {top.digest}
    while todo:
        stored = await cache.manifest_get(todo.pop())
        if stored is None:
            continue
        for child in parse_manifest(stored.content, stored.media_type).children:
            if not is_manifest(child):
                blobs[child.digest] = child.size
            elif child.digest not in seen:
                seen.add(child.digest)
                todo.append(child.digest)
    return sum(blobs.values())


async def find(cache: Cache, reference: str) -> list[Record]:
    """The record of that name, or else those that somebody has written like this.

    Raises ManifestUnknown.
    """
    written = []
    async for record in cache.records():
        if str(record.key) == reference:
            return [record]
        if record.original == reference:
            written.append(record)
    if not written:
        raise ManifestUnknown(cache.place, reference)
    return written


async def remove(cache: Cache, reference: str) -> list[RecordKey]:
    """Forget the name; what it led to is removed by `prune`, unless another name leads there.

    Raises ManifestUnknown.
    """
    found = await find(cache, reference)
    for record in found:
        await cache.record_delete(record.key)
    return [record.key for record in found]


async def tag(cache: Cache, source: str, target: str) -> Record:
    """Give what `source` names the further name `target`, ``HOST/NAME:TAG``.

    Raises ManifestUnknown; NameInvalid, TagInvalid, DigestInvalid.
    """
    to = Reference.parse(target)
    if to.tag is None or to.digest is not None:
        raise TagInvalid("want HOST/NAME:TAG", target)
    found = await find(cache, source)
    record = replace(found[0], key=RecordKey(to.registry, to.name, to.tag), original=target)
    await cache.record_put(record)
    return record
