"""The content graph that a copy walks: manifests, in an order in which they can be put, and blobs.

It holds descriptors, never content, and is pure: who walks gives it one manifest after the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..oci import limits
from ..oci.children import is_manifest
from ..oci.descriptor import Descriptor
from ..oci.digest import Digest
from ..oci.errors import Fault, ManifestInvalid, WasmholdError
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
