"""What a copy would do: found by reading manifests and asking the destination what it has."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

from ..oci import limits, media_types
from ..oci.children import is_required
from ..oci.descriptor import Descriptor
from ..oci.digest import Digest
from ..oci.errors import Fault, ManifestInvalid, ManifestUnknown
from ..oci.limits import MIB
from ..oci.manifest import Manifest, parse_manifest
from ..ports.repository import Particular, Repository
from ..ports.runtime import ClientRuntime
from ..ports.store import StoredManifest
from .events import Side
from .failure import blamed
from .graph import Graph, GraphTooLarge
from .platforms import Platform
from .settings import CONCURRENCY

T = TypeVar("T")
R = TypeVar("R")

_KEPT: Final = 8 * MIB  # bytes of manifests that are not read a second time
_PAGE: Final = 1000  # tags of one list


@dataclass(frozen=True, slots=True)
class Options:
    """What of a graph is copied, and how.

    referrers    also what refers to it, and to that, and so on
    platform     of an index only the manifest for this platform
    concurrency  manifests and blobs that are read or moved side by side
    foreign      also layers that are not to be distributed, where the source has them
    """

    referrers: bool = False
    platform: Platform | None = None
    concurrency: int = CONCURRENCY
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What `Copier.follow` does.  What is in none of these does not move.

    roots      what was asked for, as the destination names it
    blobs      move first, or are mounted
    manifests  are put then, in this order
    needed     of these, what others point at or refer to: they are put before their tags
    tags       are set last: digest to tags that do not point to it yet
    there      the destination has these already
    left_out   not to be distributed, or only to be had elsewhere
    """

    roots: tuple[Descriptor, ...] = ()
    blobs: tuple[Descriptor, ...] = ()
    manifests: tuple[Descriptor, ...] = ()
    needed: frozenset[Digest] = frozenset()
    tags: Mapping[Digest, tuple[str, ...]] = field(default_factory=dict, hash=False)
    there: tuple[Descriptor, ...] = ()
    left_out: tuple[Descriptor, ...] = ()

    @property
    def size(self) -> int:
        """Bytes that move, at most: what can be mounted does not."""
        return sum(descriptor.size for descriptor in (*self.blobs, *self.manifests))

    @property
    def requests(self) -> int:
        """That two registries would be asked at least: a blob is read once, and written in two."""
        return 3 * len(self.blobs) + 2 * len(self.manifests) + len(self.tags)


@dataclass(frozen=True, slots=True)
class _Looked:
    """A manifest of the source; `manifest` is None where the destination's is enough."""

    is_there: bool
    manifest: Manifest | None = None
    referrers: tuple[Descriptor, ...] = ()


class Planner:
    """Walks the graph of one copy."""

    def __init__(
        self,
        source: Repository,
        destination: Repository,
        runtime: ClientRuntime,
        options: Options,
    ) -> None:
        self._source, self._destination = source, destination
        self._runtime, self._options = runtime, options
        self._kept: dict[Digest, StoredManifest] = {}
        self._kept_size = 0

    async def _map(self, function: Callable[[T], Awaitable[R]], items: Sequence[T]) -> list[R]:
        return await self._runtime.map(function, items, self._options.concurrency)

    # ---- what is asked for

    async def plan(self, wanted: Mapping[str | Digest, Iterable[str]]) -> Plan:
        """`wanted`: tags and digests of the source, each with its tags in the destination."""
        references = [*wanted]
        found = await self._map(self._root, references)
        tags: dict[Digest, list[str]] = {}
        roots: dict[Digest, Descriptor] = {}
        for reference, root in zip(references, found, strict=True):
            roots[root.digest] = root
            tags.setdefault(root.digest, []).extend(wanted[reference])
        return await self._plan([*roots.values()], tags)

    async def plan_all(self) -> Plan:
        """All tags, each under its own name."""
        wanted: dict[str | Digest, tuple[str, ...]] = {}
        after = ""
        while True:
            with blamed(Side.SOURCE, self._source.place, "listing tags"):
                page = await self._source.tags(after, _PAGE)
            wanted.update({tag: (tag,) for tag in page})
            if len(wanted) > limits.GRAPH_NODES:
                raise GraphTooLarge(f"{self._source.place} has more tags than a copy remembers")
            if len(page) < _PAGE:
                return await self.plan(wanted)
            after = page[-1]

    async def _root(self, reference: str | Digest) -> Descriptor:
        source, platform = self._source, self._options.platform
        with blamed(Side.SOURCE, source.place, f"reading {reference}"):
            found = await source.resolve(reference)
            if found is None:
                raise ManifestUnknown(source.place, str(reference))
            depth = 0
            while platform is not None and found.media_type in media_types.INDEXES:
                index = await self._read(found)
                found = platform.choose(index, source.place, str(reference))
                depth += 1
                if depth > limits.GRAPH_DEPTH:
                    raise GraphTooLarge(f"{reference} has more than {depth} indexes in indexes")
        return Descriptor(found.media_type, found.digest, found.size)

    # ---- the walk

    async def _plan(self, roots: list[Descriptor], tags: Mapping[Digest, list[str]]) -> Plan:
        graph = Graph()
        there: dict[Digest, Descriptor] = {}
        subjects: set[Digest] = set()  # that something refers to
        todo = deque((root, 0) for root in roots if graph.add(root))
        while todo:
            step = [todo.popleft() for _ in range(min(len(todo), self._options.concurrency))]
            looks = await self._map(self._look, [descriptor for descriptor, _ in step])
            for (descriptor, depth), look in zip(step, looks, strict=True):
                if look.is_there:
                    there[descriptor.digest] = descriptor
                if look.referrers:
                    subjects.add(descriptor.digest)
                if look.manifest is None:
                    continue
                with blamed(Side.SOURCE, self._source.place, f"reading {descriptor.digest}"):
                    below = graph.expand(
                        descriptor.digest, look.manifest, with_blobs=not look.is_there
                    )
                    for child in (*below, *look.referrers):
                        if graph.add(child, depth + 1):
                            todo.append((child, depth + 1))
        blobs, more_there, left_out = await self._blobs(graph)
        missing = [d for d in graph.in_order() if d.digest not in there]
        return Plan(
            tuple(roots),
            blobs,
            tuple(missing),
            frozenset(graph.inner | subjects),
            await self._missing_tags(tags, there),
            (*there.values(), *more_there),
            left_out,
        )

    async def _look(self, descriptor: Descriptor) -> _Looked:
        digest, source, destination = descriptor.digest, self._source, self._destination
        with blamed(Side.DESTINATION, destination.place, f"asking for {digest}"):
            is_there = await destination.resolve(digest) is not None
        if is_there and not self._options.referrers:
            # What refers comes after what it refers to: so all of that is there as well.
            return _Looked(is_there)
        with blamed(Side.SOURCE, source.place, f"reading {digest}"):
            manifest = await self._read(descriptor)
            found: list[Descriptor] = []
            if self._options.referrers:
                found = await source.referrers(digest)
        if isinstance(destination, Particular):
            with blamed(Side.DESTINATION, destination.place, f"taking {digest}"):
                destination.refuse(descriptor, manifest)
        return _Looked(is_there, manifest, tuple(found))

    async def _read(self, descriptor: Descriptor) -> Manifest:
        stored = await self.manifest(descriptor)
        if len(stored.content) != descriptor.size:
            told = f"has {len(stored.content)} bytes, its descriptor says {descriptor.size}"
            raise ManifestInvalid(Fault(str(descriptor.digest), told))
        return parse_manifest(stored.content, descriptor.media_type)

    async def manifest(self, descriptor: Descriptor) -> StoredManifest:
        """The content of a manifest of the source, under the type by which it is referred to."""
        digest = descriptor.digest
        kept = self._kept.get(digest)
        if kept is not None:
            return kept
        found = await self._source.manifest_get(digest)
        stored = StoredManifest(digest, descriptor.media_type, found.content)
        if self._kept_size + len(found.content) <= _KEPT:
            self._kept_size += len(found.content)
            self._kept[digest] = stored
        return stored

    async def _blobs(
        self, graph: Graph
    ) -> tuple[tuple[Descriptor, ...], list[Descriptor], tuple[Descriptor, ...]]:
        """Those that move, the largest first, those that are there, those that are left out."""
        wanted = [blob for blob in graph.blobs.values() if is_required(blob)]
        optional = [blob for blob in graph.blobs.values() if not is_required(blob)]
        left_out: list[Descriptor] = []
        for blob, is_taken in zip(optional, await self._map(self._is_taken, optional), strict=True):
            (wanted if is_taken else left_out).append(blob)
        sizes = await self._map(self._size, wanted)
        missing = [d for d, size in zip(wanted, sizes, strict=True) if size != d.size]
        there = [d for d, size in zip(wanted, sizes, strict=True) if size == d.size]
        missing.sort(key=lambda descriptor: descriptor.size, reverse=True)
        return tuple(missing), there, tuple(left_out)

    async def _is_taken(self, blob: Descriptor) -> bool:
        """What is not to be distributed stays; what is also to be had elsewhere goes if it is here.

        Source: image-spec, layer.md, "Non-Distributable Layers"; descriptor.md, "urls".
        """
        if blob.media_type in media_types.NONDISTRIBUTABLE and not self._options.foreign:
            return False
        with blamed(Side.SOURCE, self._source.place, f"asking for blob {blob.digest}"):
            return await self._source.blob_size(blob.digest) is not None

    async def _size(self, blob: Descriptor) -> int | None:
        with blamed(Side.DESTINATION, self._destination.place, f"asking for blob {blob.digest}"):
            return await self._destination.blob_size(blob.digest)

    async def _missing_tags(
        self, tags: Mapping[Digest, list[str]], there: Mapping[Digest, Descriptor]
    ) -> dict[Digest, tuple[str, ...]]:
        """The tags that do not point there yet."""
        missing = {}
        for digest, names in tags.items():
            new = [*dict.fromkeys(names)]
            if digest in there:
                are = await self._map(partial(self._is_tagged, digest), new)
                new = [tag for tag, is_set in zip(new, are, strict=True) if not is_set]
            if new:
                missing[digest] = tuple(new)
        return missing

    async def _is_tagged(self, digest: Digest, tag: str) -> bool:
        with blamed(Side.DESTINATION, self._destination.place, f"asking for {tag}"):
            found = await self._destination.resolve(tag)
        return found is not None and found.digest == digest
