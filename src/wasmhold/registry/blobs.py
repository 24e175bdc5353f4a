"""Blobs of a repository.  Source: distribution-spec, "Pulling blobs", "Deleting Blobs"."""

from __future__ import annotations

from ..oci.errors import BlobUnknown
from ..ports.store import Blobs
from ..protocol.conditions import entity_tag, matches
from ..protocol.operations import DeleteBlob, GetBlob
from ..protocol.results import BlobFound, Deleted, NotModified


async def get_blob(store: Blobs, operation: GetBlob) -> BlobFound | NotModified:
    """Raises BlobUnknown; RangeNotSatisfiable."""
    name, digest = operation.name, operation.digest
    size = await store.blob_stat(name, digest)
    if size is None:
        raise BlobUnknown(name, str(digest))
    if operation.none_match and matches(operation.none_match, entity_tag(digest)):
        return NotModified(digest)
    # HEAD has no ranges: RFC 9110, 14.2 defines Range for GET alone.
    if not operation.with_body:
        return BlobFound(digest, size)
    part = None if operation.range is None else operation.range.within(size)
    start, stop = part or (0, size)
    return BlobFound(digest, size, await store.blob_open(name, digest, start, stop), part)


async def delete_blob(store: Blobs, operation: DeleteBlob) -> Deleted:
    """Raises BlobUnknown; BlobInUse while a manifest of the repository needs it."""
    await store.blob_delete(operation.name, operation.digest)
    return Deleted()
