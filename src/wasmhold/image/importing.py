"""What other tools have saved becomes images here: layouts and docker's archives, all verified.

First all content is copied, then tags are set: where a part is missing or is other bytes, no tag of
any image has changed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias, TypedDict

from ..client.copy import Copier
from ..client.events import Listener, nobody
from ..client.failure import CopyFailed
from ..client.opening import Opener
from ..client.output import new_file
from ..client.places.archive import ImportLimits
from ..client.places.docker import open_any_archive
from ..client.places.files import translated
from ..client.places.indexed import IndexedRepository
from ..client.places.layout import open_layout
from ..client.plan import Options as CopyOptions
from ..client.platforms import Platform
from ..client.urls import fetch_url
from ..oci.children import is_manifest
from ..oci.descriptor import Descriptor
from ..oci.digest import Digest
from ..oci.errors import (
    Ambiguous,
    Cancelled,
    ContentDamaged,
    DigestMismatch,
    LimitExceeded,
    ManifestUnknown,
    WasmholdError,
)
from ..oci.layout import tag_of, whole_name_of
from ..oci.limits import MIB
from ..oci.manifest import Manifest, parse_manifest
from ..oci.reference import familiar, split_tag
from ..ports.store import StoredManifest
from .holding import Handle, Holder, Holding, count_layers
from .reference import LATEST, ImageReference

SIZE: Final = 64 * 1024 * MIB  # bytes of an archive, unless it may have more

_PIECE: Final = MIB  # bytes that are copied at once
_SHORT: Final = 12  # digits of a digest in a name that is made of it


class Reader(Protocol):
    """A stream that an archive is read from."""

    def read(self, size: int, /) -> bytes: ...


Source: TypeAlias = str | os.PathLike[str] | bytes | Reader


class ImportOptions(TypedDict, total=False):
    """What an import may be told."""

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
    async with _opened(opener, source, how.limits) as archive:
        images = await _images(archive, how.select)
        if how.name is not None:
            ImageReference.parse(how.name)
            name, tag = split_tag(how.name.partition("@")[0])
            _rename(images, name, tag, has_digest="@" in how.name)
        elif holding.place is not None and holding.place.tag is not None:
            _rename(images, "", holding.place.tag)
        return await _Importing(opener, archive, holding, how).run(images)


# ---- where it comes from


@asynccontextmanager
async def _opened(
    opener: Opener, source: Source, bounds: ImportLimits
) -> AsyncIterator[IndexedRepository]:
    """Raises ContentDamaged for what is neither a layout nor a docker archive."""
    runtime = opener.runtime
    if isinstance(source, str | os.PathLike):
        path = os.fspath(source)
        if "://" in path:
            async with _fetched(opener, path, bounds) as repository:
                yield repository
            return
        if await runtime.offload(os.path.isdir, path):
            repository = open_layout(path, runtime)
        else:
            await runtime.offload(_check, path, bounds)
            repository = open_any_archive(path, runtime, bounds)
        async with aclosing(repository):
            if not await repository.entries():
                raise ContentDamaged(f"{path} has no image: it is no layout, or an empty one")
            yield repository
        return
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "archive")
        await runtime.offload(_spool, source, path, bounds.size)
        async with _opened(opener, path, bounds) as repository:
            yield repository


@asynccontextmanager
async def _fetched(
    opener: Opener, url: str, bounds: ImportLimits
) -> AsyncIterator[IndexedRepository]:
    """Raises as `client.urls.fetch_url`."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "archive")
        async with new_file(path, 0o600, opener.runtime) as write:
            await fetch_url(opener.outside, opener.runtime, url, write, max_size=bounds.size)
        async with _opened(opener, path, bounds) as repository:
            yield repository


def _check(path: str, bounds: ImportLimits) -> None:
    """Raises ContentDamaged, LimitExceeded; StoreUnavailable where it is not there."""
    with translated(path):
        if os.stat(path).st_size > bounds.size:
            raise LimitExceeded("bytes", bounds.size)


def _spool(source: bytes | Reader, path: str, most: int) -> None:
    """Raises LimitExceeded, OutOfSpace."""
    pieces: Iterable[bytes]
    pieces = [source] if isinstance(source, bytes) else iter(lambda: source.read(_PIECE), b"")
    size = 0
    with translated(path), open(path, "wb") as file:
        for piece in pieces:
            size += len(piece)
            if size > most:
                raise LimitExceeded("bytes", most)
            file.write(piece)


# ---- what is in it


async def _images(
    archive: IndexedRepository, select: str | Digest | Platform | None
) -> list[_Image]:
    """The images that the index leads to, each once.

    What has no name and is a part of another one, or refers to it, comes with that.
    """
    entries = await archive.entries()
    manifests: dict[Digest, Manifest] = {}
    for entry in entries:
        stored = await archive.manifest_get(entry.digest)
        manifests[entry.digest] = parse_manifest(stored.content, entry.media_type)
    inner = await _inner(archive, manifests.values())
    images: dict[Digest, _Image] = {}
    for entry in entries:
        tag, subject = tag_of(entry), manifests[entry.digest].subject
        if isinstance(select, str | Digest):
            if not _is_selected(entry, str(select)):
                continue
        elif tag is None and (entry.digest in inner or (subject and subject.digest in manifests)):
            continue
        tags = images.setdefault(entry.digest, _Image(entry)).tags
        whole = whole_name_of(entry)
        if whole is not None:
            name, tag = split_tag(whole.partition("@")[0])
            tags.setdefault(name, []).extend([tag] if tag else [])
        elif tag is not None:
            tags.setdefault("", []).append(tag)
    if not images:
        raise ManifestUnknown(archive.place, str(select))
    return [*images.values()]


async def _inner(archive: IndexedRepository, manifests: Iterable[Manifest]) -> set[Digest]:
    """What indexes lead to, and the indexes below them."""
    inner: set[Digest] = set()
    todo = [child for manifest in manifests for child in manifest.manifests]
    while todo:
        child = todo.pop()
        if child.digest in inner or not is_manifest(child):
            continue
        inner.add(child.digest)
        try:
            stored = await archive.manifest_get(child.digest)
        except ManifestUnknown:
            continue  # the copy says so, if it is wanted
        todo += parse_manifest(stored.content, child.media_type).manifests
    return inner


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
        return {name or made: tags for name, tags in (image.tags or {"": []}).items()}

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
