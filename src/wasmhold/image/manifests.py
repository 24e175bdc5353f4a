"""Manifests: found where the policy says, compared with what the registry has, and chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Final

from ..client.platforms import Platform
from ..oci import media_types
from ..oci.descriptor import Descriptor
from ..oci.digest import Digest
from ..oci.errors import Fault, ManifestInvalid, WasmholdError
from ..oci.manifest import Manifest, parse_manifest
from ..ports.store import StoredManifest
from .call import Call
from .errors import ImageNotFound, UnsupportedManifest
from .events import Resolved, Stale
from .policy import PullPolicy, Source, SourcePolicy, Verdict, judge, manifest_order
from .reference import ImageReference
from .tiers import CacheTier, LocalTier, Remotes

MAX_NESTED: Final = 3  # indexes in an index


@dataclass(frozen=True, slots=True, kw_only=True)
class PulledManifest(Manifest):
    """A manifest, the bytes that it came as, and where from.

    index   the one that it was chosen from, which may have been chosen from another
    stale   the registry could not say whether its tag still leads here
    """

    digest: Digest
    raw: bytes = field(repr=False)
    source: Source
    index: PulledManifest | None = field(default=None, repr=False)
    stale: bool = False

    @property
    def size(self) -> int:
        """Bytes of it."""
        return len(self.raw)

    @property
    def here(self) -> Descriptor:
        """Media type, digest and size."""
        return Descriptor(self.media_type, self.digest, self.size)


def pulled(stored: StoredManifest, source: Source, index: PulledManifest | None) -> PulledManifest:
    """Raises UnsupportedManifest, ManifestInvalid."""
    if stored.media_type not in media_types.MANIFESTS | media_types.INDEXES:
        raise UnsupportedManifest(str(stored.digest), stored.media_type)
    said = parse_manifest(stored.content, stored.media_type)
    members = {one.name: getattr(said, one.name) for one in fields(said)}
    stale = index is not None and index.stale
    return PulledManifest(
        **members,
        digest=stored.digest,
        raw=stored.content,
        source=source,
        index=index,
        stale=stale,
    )


class Manifests:
    """Asks the places in their order, and copies what a farther one gave into the nearer ones."""

    def __init__(
        self,
        local: LocalTier | None,
        caches: Sequence[CacheTier],
        mirrors_of: Callable[[str], Sequence[str]],
        pinned: Callable[[ImageReference], bool],
        stale_if_error: bool,
    ) -> None:
        self._local, self._caches = local, caches
        self._mirrors_of, self._pinned, self._stale = mirrors_of, pinned, stale_if_error

    def remotes(self, call: Call) -> Remotes:
        return Remotes(call, self._mirrors_of(call.image.registry))

    async def root(self, call: Call) -> PulledManifest:
        """What the reference itself names; an index stays one.

        Raises NotFound; AuthFailed; what else the registry or the way to it does.
        """
        found = await self._find(call, call.image.reference)
        if found is not None:
            found = await self._current(call, found)
        if found is None:
            found = await self._fetch(call, call.image.reference)
        await call.tell(Resolved(str(call.image), found.digest, found.source))
        return found

    async def chosen(self, call: Call, platform: Platform) -> PulledManifest:
        """The manifest that is meant on `platform`.  Raises as `root`; NoMatchingPlatform."""

        def choose(index: PulledManifest) -> Descriptor:
            return platform.choose(index, call.image.repository, str(call.image.reference))

        return await self.follow(call, choose)

    async def follow(
        self, call: Call, choose: Callable[[PulledManifest], Descriptor]
    ) -> PulledManifest:
        """What the reference leads to when `choose` says which child of an index is meant.

        Raises as `root`; what `choose` does.
        """
        found = await self.root(call)
        above = {found.digest}
        while found.is_index:
            child = choose(found)
            if child.digest in above or len(above) > MAX_NESTED:
                why = "leads back to itself" if child.digest in above else "is nested too deep"
                raise ManifestInvalid(Fault("manifests", f"{child.digest} {why}"))
            above.add(child.digest)
            found = await self.child(call, found, child)
        return found

    async def child(self, call: Call, index: PulledManifest, of: Descriptor) -> PulledManifest:
        """One manifest of an index, by the same rules.  Raises as `root`."""
        found = await self._find(call, of.digest, index)
        return found or await self._fetch(call, of.digest, index)

    async def _find(
        self, call: Call, reference: str | Digest, index: PulledManifest | None = None
    ) -> PulledManifest | None:
        """What is here, or in the shared cache."""
        nearer: list[CacheTier] = []
        for source in manifest_order(call.policy, call.sources):
            for tier in self._tiers(source):
                stored = await tier.find(call, reference)
                call.connections.stats.asked(source, hit=stored is not None)
                if stored is not None:
                    await self._keep(call, nearer, stored, reference)
                    return pulled(stored, source, index)
                if isinstance(tier, CacheTier):
                    nearer.append(tier)
        return None

    def _tiers(self, source: Source) -> list[CacheTier | LocalTier]:
        caches: list[CacheTier | LocalTier] = [t for t in self._caches if t.source is source]
        return [self._local] if source is Source.LOCAL and self._local is not None else caches

    async def _keep(
        self,
        call: Call,
        tiers: Sequence[CacheTier],
        stored: StoredManifest,
        reference: str | Digest,
    ) -> None:
        for tier in tiers:
            await tier.keep(call, stored, reference if isinstance(reference, str) else None)

    async def _current(self, call: Call, found: PulledManifest) -> PulledManifest | None:
        """`found` where it may be used; None where the registry has another one."""
        if not self._is_asked(call):
            return found
        there: Descriptor | WasmholdError | None = None
        try:
            there = await self.remotes(call).resolve(call.image.reference)
        except WasmholdError as error:
            there = error
        match judge(found.here, there, stale=self._stale):
            case Verdict.USE:
                return found
            case Verdict.FETCH:
                return None
            case Verdict.USE_STALE:
                await call.tell(Stale(str(call.image), str(there)))
                return replace(found, stale=True)
            case Verdict.GONE:
                raise ImageNotFound(
                    call.image.registry,
                    str(call.image),
                    "its registry has it no more, or not yet",
                    f"the policy {PullPolicy.IF_NOT_PRESENT.value} takes the one that is here",
                )
            case Verdict.RAISE:
                assert isinstance(there, WasmholdError)
                raise there

    def _is_asked(self, call: Call) -> bool:
        """Whether the registry has to say if what is here is up to date."""
        return (
            call.policy is PullPolicy.NEWER
            and call.image.digest is None
            and call.has_origin
            and Source.ORIGIN in manifest_order(call.policy, call.sources)
            and not self._pinned(call.image)
        )

    async def _fetch(
        self, call: Call, reference: str | Digest, index: PulledManifest | None = None
    ) -> PulledManifest:
        """From a mirror or the origin, and into the caches.  Raises ImageNotFound."""
        if Source.ORIGIN not in manifest_order(call.policy, call.sources) or not call.has_origin:
            raise not_found(call)
        source, stored = await self.remotes(call).manifest(reference)
        found = pulled(stored, source, index)
        await self._keep(call, self._caches, stored, reference)
        return found


def not_found(call: Call, blob: Digest | None = None) -> ImageNotFound:
    """Why an image, or a blob of it, cannot be had where no registry may be asked."""
    image = call.image
    what = str(image) if blob is None else f"{image} ({blob})"
    if call.sources is SourcePolicy.LOCAL_ONLY:
        reason = "source_policy=local_only: it is in no local place, and no other one is asked"
        return ImageNotFound("local", what, reason, "pull it with another source policy")
    if call.policy is PullPolicy.NEVER:
        reason = "policy=never: it is in no local place"
        return ImageNotFound(image.registry, what, reason, "pull it with another policy")
    return ImageNotFound(
        "local",
        image.original if blob is None else what,
        "it is in no local place, and a name without a host is sent to no registry",
        f"write it out, such as {image}, or set default_registry",
    )


def runtime_marker(manifest: Manifest, key: str = "com.zlayer.runtime") -> str | None:
    """What an annotation says about the runtime that is wanted, such as zlayer's ``vz``."""
    return manifest.annotations.get(key)
