"""What refers to a manifest, and what refers to that."""

from __future__ import annotations

from dataclasses import dataclass

from ..oci import limits
from ..oci.descriptor import Descriptor
from ..oci.digest import Digest
from ..ports.repository import Repository
from .graph import GraphTooLarge


@dataclass(frozen=True, slots=True)
class Referrer:
    """`referrers` are those of this one, as far as they were asked for."""

    descriptor: Descriptor
    referrers: tuple[Referrer, ...] = ()


async def read_tree(
    repository: Repository, subject: Digest, artifact_type: str | None, depth: int
) -> list[Referrer]:
    """The referrers of `subject`, those of `artifact_type` alone at the top, `depth` levels deep.

    Raises CannotList; GraphTooLarge.
    """
    seen: set[Digest] = {subject}

    async def below(digest: Digest, wanted: str | None, left: int) -> list[Referrer]:
        found = []
        for descriptor in await repository.referrers(digest, wanted):
            if descriptor.digest in seen:
                continue
            seen.add(descriptor.digest)
            if len(seen) > limits.GRAPH_NODES:
                raise GraphTooLarge(f"more than {limits.GRAPH_NODES} manifests refer to {subject}")
            more = await below(descriptor.digest, None, left - 1) if left > 1 else []
            found.append(Referrer(descriptor, tuple(more)))
        return found

    return await below(subject, artifact_type, min(depth, limits.GRAPH_DEPTH))
