"""Where images are that are exported, and where they go that are imported."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias, runtime_checkable

from ..client.caches.port import Cache
from ..client.local_images import LocalImages
from ..client.opening import Opener
from ..client.place import Place, PlaceInvalid, PlaceKind, is_host
from ..client.places.cache import CacheRepository
from ..oci.children import is_manifest
from ..oci.descriptor import Descriptor
from ..oci.digest import HEX_LENGTH, Digest
from ..oci.errors import ManifestUnknown, NameInvalid, NotFound
from ..oci.manifest import parse_manifest
from ..oci.reference import familiar, parse_name, parse_tag
from ..ports.repository import Repository
from ..ports.runtime import ClientRuntime
from .reference import ImageReference

_STORE: Final = PlaceKind.STORE.value


@runtime_checkable
class Handle(Protocol):
    """`LocalRegistry`, `BlobCache`, `ObjectCache`."""

    def engine(self, runtime: ClientRuntime) -> LocalImages | Cache: ...


# Text is a place, or what has many images: a host, ``store:DIR``.  A repository stays open.
Holder: TypeAlias = Handle | Repository | Place | str


@dataclass(frozen=True, slots=True)
class Host:
    """All repositories of a registry."""

    name: str


@runtime_checkable
class _Cache(Cache, Protocol):
    """The same, so that it is known at run time."""


class Holding:
    """A holder, opened by `opener`."""

    def __init__(self, holder: Holder, opener: Opener) -> None:
        """Raises PlaceInvalid; NameInvalid, TagInvalid, DigestInvalid."""
        self._opener = opener
        self._held = self._understood(holder)

    def _understood(self, holder: Holder) -> LocalImages | Cache | Repository | Place | Host:
        if isinstance(holder, str):
            if holder.startswith(_STORE) and "//" not in holder:
                return LocalImages(holder.removeprefix(_STORE), self._opener.runtime)
            if "/" not in holder and is_host(holder):
                return Host(holder)
            return Place.parse(holder, self._opener.settings.default_registry)
        return holder.engine(self._opener.runtime) if isinstance(holder, Handle) else holder

    @property
    def place(self) -> Place | None:
        """Where the holder is one repository, the text that names it."""
        return self._held if isinstance(self._held, Place) else None

    @property
    def label(self) -> str:
        """Where the holder is one repository, how people write it; else empty."""
        held = self._held
        if isinstance(held, LocalImages | Host | _Cache):
            return ""
        return held.repository if isinstance(held, Place) else held.place

    @property
    def has_names(self) -> bool:
        """Whether it holds images of many names."""
        return isinstance(self._held, LocalImages | Host | _Cache)

    def understood(self, reference: str | None) -> tuple[ImageReference | None, str | Digest]:
        """The image, where the reference is more than a tag or a digest, and which of those.

        An empty tag is the one image of a docker archive that has no other.  Raises NameInvalid,
        TagInvalid, DigestInvalid; PlaceInvalid.
        """
        if reference is None:
            if not isinstance(self._held, Place):
                raise PlaceInvalid("want a tag, a digest or a whole name, NAME:TAG", "")
            if self._held.kind is PlaceKind.DOCKER and self._held.reference is None:
                return None, ""
            return None, self._held.required()
        if not self.has_names:
            if reference.partition(":")[0] in HEX_LENGTH:
                return None, Digest.parse(reference)
            if not set(reference) & set(":/@"):
                return None, parse_tag(reference)
        image = ImageReference.parse(reference)
        return image, image.reference

    @asynccontextmanager
    async def source(
        self, image: ImageReference | None, reference: str | Digest
    ) -> AsyncIterator[Repository]:
        """The repository that has the image, which has no name where the holder is a repository.

        Raises ManifestUnknown, NameUnknown; PlaceInvalid.
        """
        held = self._held
        if isinstance(held, LocalImages):
            async with self._local(held, self._named(image, reference), reference) as repository:
                yield repository
        elif isinstance(held, _Cache | Host):
            async with self.target(self._named(image, reference), create=False) as repository:
                yield repository
        else:
            async with self._one(held, create=False) as repository:
                yield repository

    def _named(self, image: ImageReference | None, reference: str | Digest) -> ImageReference:
        if image is None:
            raise PlaceInvalid("want the whole name of an image, NAME:TAG", str(reference))
        return image

    @asynccontextmanager
    async def _local(
        self, images: LocalImages, image: ImageReference, reference: str | Digest
    ) -> AsyncIterator[Repository]:
        for name in image.local_names:
            try:
                repository = await images.repository(parse_name(name))
            except (NotFound, NameInvalid):
                continue
            async with aclosing(repository):
                if await repository.resolve(reference) is not None:
                    yield repository
                    return
        raise ManifestUnknown(f"store:{images.root}", str(image))

    @asynccontextmanager
    async def target(
        self, image: ImageReference, *, create: bool = True
    ) -> AsyncIterator[Repository]:
        """The repository that the image belongs into.  Raises NameInvalid."""
        held, runtime = self._held, self._opener.runtime
        if isinstance(held, LocalImages):
            name = familiar(image.repository)
            if ":" in name:
                raise NameInvalid(
                    "a name with a port is none in a folder: give the image another one (--name)",
                    name,
                )
            parse_name(name)
            async with aclosing(await held.repository(name, create=create)) as repository:
                yield repository
        elif isinstance(held, Host):
            place = Place(PlaceKind.REGISTRY, held.name, image.within(held.name).name)
            async with self._one(place, create=create) as repository:
                yield repository
        elif isinstance(held, _Cache):
            yield CacheRepository(held, image.registry, image.name, runtime, to_write=create)
        else:
            async with self._one(held, create=create) as repository:
                yield repository

    @asynccontextmanager
    async def _one(self, held: Repository | Place, *, create: bool) -> AsyncIterator[Repository]:
        if not isinstance(held, Place):
            yield held
            return
        async with aclosing(await self._opener.open(held, create=create)) as repository:
            yield repository


async def count_layers(repository: Repository, root: Descriptor) -> int:
    """Those of an image, or of all images of an index, each once."""
    layers: set[Digest] = set()
    todo, seen = [root], {root.digest}
    while todo:
        stored = await repository.manifest_get(todo.pop().digest)
        manifest = parse_manifest(stored.content, stored.media_type)
        layers |= {layer.digest for layer in manifest.layers}
        below = [one for one in manifest.manifests if is_manifest(one) and one.digest not in seen]
        seen |= {one.digest for one in below}
        todo += below
    return len(layers)
