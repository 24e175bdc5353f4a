"""What other tools have saved becomes images here: layouts and docker's archives, all verified.

First all content is copied, then tags are set: where a part is missing or is other bytes, no tag of
any image has changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, TypedDict

from ..client.copy import Copier
from ..client.events import Listener, nobody
from ..client.failure import CopyFailed
from ..client.opening import Opener
from ..client.places.archive import ImportLimits
from ..client.places.indexed import IndexedRepository
from ..client.plan import Options as CopyOptions
from ..client.platforms import Platform
from ..oci import limits
from ..oci.children import is_manifest
from ..oci.descriptor import Descriptor
from ..oci.digest import Digest
from ..oci.errors import (
    Ambiguous,
    Cancelled,
    DigestMismatch,
    LimitExceeded,
    ManifestUnknown,
    WasmholdError,
)
from ..oci.layout import tag_of, whole_name_of
from ..oci.limits import MIB
from ..oci.manifest import parse_manifest
from ..oci.reference import familiar, split_tag
from ..ports.store import StoredManifest
from .holding import Handle, Holder, Holding, count_layers
from .reference import LATEST, ImageReference
from .saved import Source, opened

SIZE: Final = 64 * 1024 * MIB  # bytes of an archive, unless it may have more

_SHORT: Final = 12  # digits of a digest in a name that is made of it


class ImportOptions(TypedDict, total=False):
    """What an import may be told; `How` says what each is."""

    name: str | None
    cache: Handle | None
    select: str | Digest | Platform | None
    limits: ImportLimits
    listener: Listener


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """What `ImportOptions` mean; the defaults.

    name      of the image, with or without a tag, instead of the one that the archive says
    cache     a cache that what is imported goes to as well
    select    of several images the one with this tag, whole name or digest; of an index the
              manifest for this platform
    limits    what an archive may be
    listener  hears of what is copied
    """

    name: str | None = None
    cache: Handle | None = None
    select: str | Digest | Platform | None = None
    limits: ImportLimits = field(default_factory=lambda: ImportLimits(size=SIZE))
    listener: Listener = nobody


@dataclass(frozen=True, slots=True)
class ImportInfo:
    """One image that was imported; `layers` counts its own.

    `name` is that of its repository; where all go to one repository, the place.
    """

    root: Descriptor
    name: str
    tags: tuple[str, ...]
    layers: int

    @property
    def digest(self) -> Digest:
        return self.root.digest


@dataclass(slots=True)
class _Image:
    """One image of the archive, and its tags by the repositories that it belongs into.

    The name of a repository is that of the archive, or was asked for; the empty one is for what
    has none.
    """

    root: Descriptor
    tags: dict[str, list[str]] = field(default_factory=dict)


async def import_(opener: Opener, target: Holder, source: Source, how: How) -> list[ImportInfo]:
    """Import all images of `source`: a path, a folder, a URL, bytes, a stream.

    What is damaged raises DigestMismatch, ContentDamaged or CopyFailed, what is too much
    LimitExceeded; then no tag has changed.  Also raises NameInvalid, PlaceInvalid; Ambiguous
    where one name is given for several images, ManifestUnknown where `select` chooses none.
    """
    holding = Holding(target, opener)
    async with opened(opener, source, how.limits) as archive:
        images = await _images(archive, how.select)
        if how.name is not None:
            ImageReference.parse(how.name)
            name, tag = split_tag(how.name.partition("@")[0])
            _rename(images, name, tag, has_digest="@" in how.name)
        elif holding.place is not None and holding.place.tag is not None:
            _rename(images, "", holding.place.tag)
        return await _Importing(opener, archive, holding, how).run(images)


async def _images(
    archive: IndexedRepository, select: str | Digest | Platform | None
) -> list[_Image]:
    """The images that the index leads to, each once.

    What has no name and is a part of another one, or refers to it, comes with that.
    """
    entries = [entry for entry in await archive.entries() if is_manifest(entry)]
    parts = await _parts(archive, entries)
    images: dict[Digest, _Image] = {}
    for entry in entries:
        tag, whole = tag_of(entry), whole_name_of(entry)
        if isinstance(select, str | Digest):
            if not _is_selected(entry, str(select)):
                continue
        elif tag is None and entry.digest in parts:
            continue
        tags = images.setdefault(entry.digest, _Image(entry)).tags
        if whole is not None:
            name, tag = split_tag(whole.partition("@")[0])
            tags.setdefault(name, []).extend([tag] if tag else [])
        elif tag is not None:
            tags.setdefault("", []).append(tag)
    if not images:
        raise ManifestUnknown(archive.place, str(select))
    return [*images.values()]


async def _parts(archive: IndexedRepository, entries: Sequence[Descriptor]) -> set[Digest]:
    """What indexes lead to, the indexes below them too, and what refers to one of the entries.

    Raises LimitExceeded.
    """
    parts: set[Digest] = set()
    listed, seen = {entry.digest for entry in entries}, set[Digest]()
    todo = {one.digest: one for one in entries}
    while todo:
        _, one = todo.popitem()
        seen.add(one.digest)
        try:
            stored = await archive.manifest_get(one.digest)
        except ManifestUnknown:
            continue  # the copy says so, if it is wanted
        manifest = parse_manifest(stored.content, one.media_type)
        if manifest.subject is not None and manifest.subject.digest in listed:
            parts.add(one.digest)
        below = [child for child in manifest.manifests if is_manifest(child)]
        parts |= {child.digest for child in below}
        if len(parts) > limits.GRAPH_NODES:
            raise LimitExceeded("manifests in indexes", limits.GRAPH_NODES)
        todo |= {child.digest: child for child in below if child.digest not in seen}
    return parts


def _is_selected(entry: Descriptor, select: str) -> bool:
    """By digest, tag or whole name."""
    whole = whole_name_of(entry)
    names = {str(entry.digest), tag_of(entry)} | ({familiar(whole)} if whole else set())
    return select in names or familiar(select) in names


def _rename(
    images: Sequence[_Image], name: str, tag: str | None, *, has_digest: bool = False
) -> None:
    """Give all of them one name; without a tag each keeps its own, one that has none the latest.

    Raises Ambiguous where two would have the same.
    """
    for image in images:
        own = [*dict.fromkeys(tag for tags in image.tags.values() for tag in tags)]
        image.tags = {name: [tag] if tag else own}
    if len(images) == 1 and not images[0].tags[name] and not has_digest:
        images[0].tags[name] = [LATEST]
    tags = [tag for image in images for tag in image.tags[name]]
    if len(set(tags)) < len(tags):
        choices = [str(image.root.digest) for image in images]
        raise Ambiguous("one name is given for several images: select one of them", choices)


# ---- the copies


class _Importing:
    """From one archive to where its images belong."""

    def __init__(
        self, opener: Opener, archive: IndexedRepository, target: Holding, how: How
    ) -> None:
        self._opener, self._archive, self._target = opener, archive, target
        self._cache = None if how.cache is None else Holding(how.cache, opener)
        self._listener = how.listener
        platform = how.select if isinstance(how.select, Platform) else None
        self._options = CopyOptions(True, platform, opener.settings.concurrency)

    async def run(self, images: Sequence[_Image]) -> list[ImportInfo]:
        found = [
            (await self._copy(image.root, name, self._target), name, tags)
            for image in images
            for name, tags in self._names(image).items()
        ]
        infos = []
        for root, name, tags in found:
            await self._tag(root, name, tags, self._target)
            if self._cache is not None:
                await self._keep(self._cache, root, name, tags)
            layers = await count_layers(self._archive, root)
            infos.append(ImportInfo(root, self._target.label or name, tuple(tags), layers))
        return infos

    def _names(self, image: _Image) -> dict[str, list[str]]:
        """Whole names, each with its tags; one that is made of the digest where there is none."""
        made = f"imported-{image.root.digest.encoded[:_SHORT]}"
        if not self._target.has_names:
            return {made: [*dict.fromkeys(tag for tags in image.tags.values() for tag in tags)]}
        given = image.tags or {"": []}
        return {name or made: [*dict.fromkeys(tags)] for name, tags in given.items()}

    async def _copy(self, root: Descriptor, name: str, to: Holding) -> Descriptor:
        """Without a tag; what it is, which is another one where a platform was chosen."""
        async with to.target(ImageReference.parse(name)) as repository:
            copier = Copier(
                self._archive, repository, self._opener.runtime, self._options, self._listener
            )
            try:
                return (await copier.follow(await copier.plan(root.digest))).roots[0]
            except CopyFailed as error:
                if isinstance(error.cause, DigestMismatch):
                    raise error.cause from error
                raise

    async def _tag(self, root: Descriptor, name: str, tags: Sequence[str], to: Holding) -> None:
        if tags:
            found = await self._archive.manifest_get(root.digest)
            stored = StoredManifest(root.digest, root.media_type, found.content)
            async with to.target(ImageReference.parse(name)) as repository:
                await repository.manifest_put(stored, tags)
                await repository.flush()

    async def _keep(self, cache: Holding, root: Descriptor, name: str, tags: Sequence[str]) -> None:
        """A cache is there for speed: what it cannot do is a warning."""
        try:
            await self._copy(root, name, cache)
            await self._tag(root, name, tags, cache)
        except Cancelled:
            raise
        except WasmholdError as error:
            self._opener.warn(f"{name} is imported, but not kept in the cache: {error}")
