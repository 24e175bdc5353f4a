"""The content graph that a copy walks: manifests, in an order in which they can be put, and blobs.

It holds descriptors, never content, and is pure: who walks gives it one manifest after the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

from ..oci import limits
from ..oci.children import is_manifest
from ..oci.descriptor import Descriptor
from ..oci.digest import Digest
from ..oci.errors import Fault, InputError, ManifestInvalid, ManifestUnknown, WasmholdError
from ..oci.manifest import Manifest


class GraphTooLarge(WasmholdError):
    """More than a copy remembers; nothing was moved."""


@dataclass(slots=True)
class Graph:
    """What was found so far.  `nodes` has manifests in the order in which they were met."""

    max_nodes: int = limits.GRAPH_NODES
    max_depth: int = limits.GRAPH_DEPTH
    nodes: dict[Digest, Descriptor] = field(default_factory=dict)
    blobs: dict[Digest, Descriptor] = field(default_factory=dict)
    _children: dict[Digest, tuple[Digest, ...]] = field(default_factory=dict)

    def add(self, descriptor: Descriptor, depth: int = 0) -> bool:
        """Note a manifest; whether it is new.  Raises GraphTooLarge, ManifestInvalid."""
        if depth > self.max_depth:
            raise GraphTooLarge(
                f"{descriptor.digest} is more than {self.max_depth} levels from where the copy "
                "began: copy a part of it"
            )
        return self._note(self.nodes, descriptor)

    def expand(
        self, digest: Digest, manifest: Manifest, *, with_blobs: bool = True
    ) -> list[Descriptor]:
        """Note what a manifest points at; the manifests of that, all of them."""
        below = [child for child in manifest.children if _is_node(child, manifest)]
        for child in manifest.children:
            if with_blobs and not _is_node(child, manifest):
                self._note(self.blobs, child)
        self._children[digest] = tuple(dict.fromkeys(child.digest for child in below))
        return below

    @property
    def inner(self) -> set[Digest]:
        """The manifests that others point at."""
        return {child for children in self._children.values() for child in children}

    def _note(self, known: dict[Digest, Descriptor], descriptor: Descriptor) -> bool:
        before = known.setdefault(descriptor.digest, descriptor)
        if before.size != descriptor.size:
            told = f"has {before.size} bytes by one descriptor and {descriptor.size} by another"
            raise ManifestInvalid(Fault(str(descriptor.digest), told))
        if len(self.nodes) + len(self.blobs) > self.max_nodes:
            raise GraphTooLarge(
                f"there are more than {self.max_nodes} manifests and blobs: copy a part of them"
            )
        return before is descriptor

    def in_order(self) -> list[Descriptor]:
        """All manifests, children before parents, else in the order in which they were met."""
        done: dict[Digest, None] = {}
        for first in self.nodes:
            path = [(first, iter(self._children.get(first, ())))]
            on_path = {first}
            while path:
                digest, children = path[-1]
                child = next((c for c in children if c not in done), None)
                if child is None:
                    done[digest] = None
                    on_path.discard(digest)
                    path.pop()
                elif child in on_path:
                    # Nobody can make one, as long as the digests are what they say.
                    raise GraphTooLarge(f"{child} leads to itself")
                else:
                    on_path.add(child)
                    path.append((child, iter(self._children.get(child, ()))))
        return [self.nodes[digest] for digest in done if digest in self.nodes]


def _is_node(child: Descriptor, parent: Manifest) -> bool:
    """In an index, what is a manifest by its type; a config or layer is never one."""
    return parent.is_index and is_manifest(child)


@dataclass(frozen=True, slots=True)
class Platform:
    """``os/architecture[/variant]``: which manifest of an index is meant."""

    os: str
    architecture: str
    variant: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``linux/arm64/v8``, ``wasip1/wasm``.  Raises PlatformInvalid."""
        parts = text.split("/")
        if len(parts) not in (2, 3) or not all(parts):
            raise PlatformInvalid("want os/architecture or os/architecture/variant", text)
        return cls(*parts)

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))

    def fits(self, platform: Mapping[str, object] | None) -> bool:
        """A variant that is not asked for may be any; what is of no platform fits none."""
        platform = platform or {}
        return (
            platform.get("os") == self.os != "unknown"
            and platform.get("architecture") == self.architecture
            and self.variant in (None, platform.get("variant"))
        )

    def choose(self, index: Manifest, place: str, reference: str) -> Descriptor:
        """The first child that fits.  Raises NoMatchingPlatform, which says what there is."""
        for child in index.manifests:
            if self.fits(child.platform):
                return child
        raise NoMatchingPlatform(self, place, reference, index.manifests)


class PlatformInvalid(InputError):
    code = "UNSUPPORTED"


class NoMatchingPlatform(ManifestUnknown):
    def __init__(
        self, wanted: Platform, place: str, reference: str, children: Iterable[Descriptor]
    ) -> None:
        has = ", ".join(sorted(_names(children))[:20]) or "no platforms"
        super().__init__(place, f"{reference} for {wanted}; it has {has}")


def _names(children: Iterable[Descriptor]) -> Iterator[str]:
    for child in children:
        platform = child.platform or {}
        parts = (platform.get(key) for key in ("os", "architecture", "variant"))
        name = "/".join(str(part)[:40] for part in parts if part)
        if name:
            yield name
