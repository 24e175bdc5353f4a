"""Tags, referrers, repositories: lists in pages.  Source: distribution-spec, "Listing …"."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace

from ..oci import limits
from ..oci.descriptor import Descriptor
from ..oci.errors import NameUnknown
from ..ports.actor import Reads
from ..ports.store import Store
from ..protocol.operations import ListReferrers, ListRepositories, ListTags
from ..protocol.results import ReferrersPage, RepositoriesPage, TagsPage

# Asked of the store at once.  Descriptors may be large, so it begins with few; where they turn out
# to be small there are more, since a store may have to look at all to give some.  Of names
# there are more where the first were not enough.
_FIRST_STEP = 100
_LAST_STEP = 2_000
_SMALL = 4 * limits.KIB  # bytes of a descriptor that is not measured exactly


def _page(limit: int | None) -> int:
    return limits.PAGE if limit is None else min(limit, limits.PAGE)


async def list_tags(store: Store, operation: ListTags) -> TagsPage:
    """Tags in byte order, strictly behind `after`.  Raises NameUnknown."""
    limit = _page(operation.limit)
    # One more than asked for shows whether there are more.
    found = await store.tags(operation.name, operation.after, limit + 1 if limit else 0)
    if found is None:
        raise NameUnknown(operation.name)
    return TagsPage(operation.name, tuple(found[:limit]), more=len(found) > limit)


async def list_repositories(
    store: Store, operation: ListRepositories, reads: Reads = None
) -> RepositoriesPage:
    """Names in byte order, strictly behind `after`: those that may be read, in full pages.

    Whether there are more, too, is said of those alone.
    """
    limit = _page(operation.limit)
    if reads is None or not limit:
        found = await store.repositories(operation.after, limit + 1 if limit else 0)
        return RepositoriesPage(tuple(found[:limit]), more=len(found) > limit)
    page: list[str] = []
    async with aclosing(readable(store, reads, operation.after)) as names:
        async for name in names:
            if len(page) == limit:
                return RepositoriesPage(tuple(page), more=True)
            page.append(name)
    return RepositoriesPage(tuple(page), more=False)


async def readable(
    store: Store, reads: Callable[[str], bool], after: str = ""
) -> AsyncGenerator[str, None]:
    """Names behind `after` that may be read, in byte order; asked for in pages."""
    step = _FIRST_STEP
    while found := await store.repositories(after, step):
        for name in found:
            if reads(name):
                yield name
        if len(found) < step:
            return
        after, step = found[-1], _LAST_STEP


async def list_referrers(store: Store, operation: ListReferrers) -> ReferrersPage:
    """What has this subject, by digest; an unknown subject or repository has none.

    A page ends before it has more bytes than clients take as a manifest; a descriptor that
    alone has more is listed without its annotations.
    """
    wanted, limit = operation.artifact_type, _page(operation.limit)
    page: list[Descriptor] = []
    room, after, step = limits.REFERRERS_PAGE, operation.after, _FIRST_STEP
    while len(page) < limit:
        found = await store.referrers(operation.name, operation.digest, after, step)
        for descriptor in found:
            if wanted is not None and descriptor.artifact_type != wanted:
                after = descriptor.digest
                continue
            size = _size(descriptor)
            if size > limits.REFERRERS_PAGE // 2:
                descriptor = replace(descriptor, annotations={})
                size = _size(descriptor)
            if size > room or len(page) == limit:
                return ReferrersPage(tuple(page), wanted is not None, after)
            page.append(descriptor)
            room, after = room - size, descriptor.digest
        if len(found) < step:
            return ReferrersPage(tuple(page), wanted is not None)
        if all(_size(descriptor) <= _SMALL for descriptor in found):
            step = _LAST_STEP
    more = bool(limit) and bool(await store.referrers(operation.name, operation.digest, after, 1))
    return ReferrersPage(tuple(page), wanted is not None, after if more else None)


def _size(descriptor: Descriptor) -> int:
    """Bytes of the descriptor in an answer, with the comma behind it; more, where it is small."""
    # Each character is six at the most, as \u0000; the names of the members are below 100.
    bound = 100 + 6 * (
        len(descriptor.media_type)
        + len(descriptor.digest.encoded)
        + len(descriptor.artifact_type or "")
        + sum(len(key) + len(value) + 6 for key, value in descriptor.annotations.items())
    )
    if bound <= _SMALL:
        return bound
    return len(json.dumps(descriptor.to_json(), separators=(",", ":"))) + 1
