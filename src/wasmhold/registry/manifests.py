"""Manifests and their tags.  Source: distribution-spec, "Pulling" and "Pushing manifests"."""

from __future__ import annotations

from ..oci.digest import DEFAULT_ALGORITHM, Digest
from ..oci.errors import DigestMismatch, ManifestTooLarge, ManifestUnknown, PreconditionFailed
from ..oci.manifest import parse_manifest
from ..ports.body import Body
from ..ports.store import Manifests, Store, StoredManifest, TagGuard
from ..protocol.conditions import Precondition, entity_tag, matches
from ..protocol.operations import DeleteManifest, GetManifest, PutManifest
from ..protocol.results import Deleted, ManifestFound, ManifestStored, NotModified
from .accept import accepts, choose
from .settings import Settings


async def resolve(store: Store, name: str, reference: str | Digest) -> StoredManifest:
    """The manifest behind a tag or digest.  Raises ManifestUnknown."""
    digest = reference if isinstance(reference, Digest) else await store.tag_get(name, reference)
    found = None if digest is None else await store.manifest_get(name, digest)
    if found is None:
        raise ManifestUnknown(name, str(reference))
    return found


async def get_manifest(store: Store, operation: GetManifest) -> ManifestFound | NotModified:
    """The bytes as they were pushed.  Raises ManifestUnknown; RangeNotSatisfiable.

    A tag of an index that the client does not take gives the child for the default platform, for
    clients that are older than indexes.  All other content is answered as it is stored, whatever
    `accept` says: what exists must be served, and its type stands in the answer.
    """
    found = await resolve(store, operation.name, operation.reference)
    accept = operation.accept
    if accept and isinstance(operation.reference, str) and not accepts(accept, found.media_type):
        found = await _child(store, operation.name, found, accept) or found
    digest = found.digest
    if operation.none_match and matches(operation.none_match, entity_tag(digest)):
        return NotModified(digest)
    size = len(found.content)
    if not operation.with_body:
        return ManifestFound(digest, found.media_type, size)
    part = None if operation.range is None else operation.range.within(size)
    return ManifestFound(digest, found.media_type, size, found.content, part)


async def _child(
    store: Manifests, name: str, found: StoredManifest, accept: tuple[str, ...]
) -> StoredManifest | None:
    index = parse_manifest(found.content, found.media_type)
    child = choose(index, accept)
    return None if child is None else await store.manifest_get(name, child.digest)


async def read_manifest(body: Body, limit: int) -> bytes:
    """All bytes of a manifest's body, counted while they come.  Raises ManifestTooLarge.

    A length that is stated and too large is refused before a byte is read.
    """
    if body.size is not None and body.size > limit:
        raise ManifestTooLarge(limit)
    chunks, size = [], 0
    async for chunk in body:
        size += len(chunk)
        if size > limit:
            raise ManifestTooLarge(limit)
        chunks.append(chunk)
    return b"".join(chunks)


def _guard(settings: Settings, condition: Precondition, wanted: Digest | None) -> TagGuard:
    """Asked each time that a tag is about to go to `wanted`."""

    def guard(tag: str, current: Digest | None) -> None:
        if not condition.holds(None if current is None else str(current)):
            raise PreconditionFailed(tag, None if current is None else str(current))
        settings.check_tag(tag, current, wanted)

    return guard


async def put_manifest(
    store: Manifests, settings: Settings, operation: PutManifest, body: Body
) -> ManifestStored:
    """Store the bytes verbatim and point the tags at them.

    Raises ManifestTooLarge, ManifestInvalid, DigestMismatch, ManifestBlobUnknown; for the tags
    PreconditionFailed and Denied: then none of them has changed.
    """
    name, reference = operation.name, operation.reference
    content = await read_manifest(body, settings.manifest_limit)
    wanted = reference if isinstance(reference, Digest) else operation.digest
    digest = Digest.of(content, wanted.algorithm if wanted else DEFAULT_ALGORITHM)
    if wanted is not None and digest != wanted:
        raise DigestMismatch(str(wanted), str(digest))
    manifest = parse_manifest(content, operation.media_type)
    await store.manifest_put(
        name,
        StoredManifest(digest, manifest.media_type, content),
        manifest,
        tags=operation.tags if isinstance(reference, Digest) else (reference,),
        guard=_guard(settings, operation.condition, digest),
        sparse=settings.sparse,
    )
    subject = None if manifest.subject is None else manifest.subject.digest
    return ManifestStored(name, reference, digest, subject, operation.tags)


async def delete_manifest(store: Store, settings: Settings, operation: DeleteManifest) -> Deleted:
    """By tag: the tag alone.  By digest: the manifest with all its tags.

    Raises ManifestUnknown; PreconditionFailed, Denied for a tag that must stay.
    """
    guard = _guard(settings, operation.condition, None)
    if isinstance(operation.reference, str):
        await store.tag_delete(operation.name, operation.reference, guard)
    else:
        await store.manifest_delete(operation.name, operation.reference, guard)
    return Deleted()
