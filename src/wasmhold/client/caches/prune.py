"""Removes from a cache what nothing that it knows a name of leads to.

A cache may forget anything at any time, so nothing here needs a lock: what a pull has put a moment
ago is young, and what is removed all the same comes again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from ...oci.digest import Digest
from ...oci.errors import Cancelled, ManifestInvalid, WasmholdError
from ...oci.manifest import parse_manifest
from .port import Cache, Kept, Record

GRACE_S: Final = 3600.0  # what is younger may belong to a pull that has not come to its end


@dataclass(frozen=True, slots=True)
class PruneReport:
    """`freed` is in bytes; `kept` counts blobs and manifests; `errors` say what could not be done.

    Of a dry run, what would have been.  With errors from reading nothing was removed.
    """

    deleted: tuple[Digest, ...] = ()
    freed: int = 0
    kept: int = 0
    errors: tuple[str, ...] = ()


@dataclass(slots=True)
class _Graph:
    """What manifests lead to, by digests alone: `below` is what they need, `beside` refers to."""

    below: dict[Digest, tuple[Digest, ...]] = field(default_factory=dict)
    beside: dict[Digest, list[Digest]] = field(default_factory=dict)

    def reached(self, roots: Iterable[Digest]) -> set[Digest]:
        found: set[Digest] = set()
        todo = list(roots)
        while todo:
            digest = todo.pop()
            if digest not in found:
                found.add(digest)
                todo += self.below.get(digest, ())
                todo += self.beside.get(digest, ())
        return found


async def prune(
    cache: Cache,
    now_s: float,
    *,
    older_than_s: float = GRACE_S,
    dry_run: bool = False,
    keep: Iterable[Digest] = (),
) -> PruneReport:
    """Remove what no record leads to: through indexes, subjects, and what refers to either.

    What was put or used in the last `older_than_s` seconds stays, and so does what `keep` leads to.
    A manifest that cannot be read ends it before anything is removed.  Records of manifests that
    are gone are dropped.
    """
    manifests = [kept async for kept in cache.manifests()]
    blobs = [kept async for kept in cache.blobs()]
    records = [record async for record in cache.records()]
    graph, errors = await _read(cache, manifests)
    if errors:
        return PruneReport(kept=len(manifests) + len(blobs), errors=tuple(errors))

    def is_young(kept: Kept) -> bool:
        return now_s - kept.used_s < older_than_s

    young = {kept.digest for kept in (*manifests, *blobs) if is_young(kept)}
    live = graph.reached([*(record.top.digest for record in records), *keep, *young])
    ends = (
        *((kept, cache.blob_delete) for kept in blobs),
        *((kept, cache.manifest_delete) for kept in manifests),
    )
    deleted, freed = [], 0
    for kept, delete in ends:
        if kept.digest not in live and (dry_run or await _done(delete, kept.digest, errors)):
            deleted.append(kept.digest)
            freed += kept.size
    if not dry_run:
        await _forget(cache, records, {kept.digest for kept in manifests}, errors)
    return PruneReport(tuple(deleted), freed, len(ends) - len(deleted), tuple(errors))


async def _read(cache: Cache, manifests: Iterable[Kept]) -> tuple[_Graph, list[str]]:
    graph, errors = _Graph(), []
    for kept in manifests:
        try:
            stored = await cache.manifest_get(kept.digest)
            if stored is None:
                errors.append(f"manifest {kept.digest} is not what it was: nothing was removed")
                continue
            manifest = parse_manifest(stored.content, stored.media_type)
        except ManifestInvalid as error:
            errors.append(f"manifest {kept.digest} cannot be read: {error}")
            continue
        below = [child.digest for child in manifest.children]
        if manifest.subject is not None:
            below.append(manifest.subject.digest)
            graph.beside.setdefault(manifest.subject.digest, []).append(kept.digest)
        graph.below[kept.digest] = tuple(below)
    return graph, errors


async def _done(
    delete: Callable[[Digest], Awaitable[None]], digest: Digest, errors: list[str]
) -> bool:
    try:
        await delete(digest)
    except Cancelled:
        raise
    except WasmholdError as error:
        errors.append(f"{digest}: {error}")
        return False
    return True


async def _forget(
    cache: Cache, records: Iterable[Record], manifests: set[Digest], errors: list[str]
) -> None:
    for record in records:
        if record.top.digest not in manifests:
            try:
                await cache.record_delete(record.key)
            except Cancelled:
                raise
            except WasmholdError as error:
                errors.append(f"{record.key}: {error}")
