"""Images of places become trees, and a packed layer an image in a place."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

from ...artifact.build import manifest_of, of_bytes, to_json
from ...artifact.media_types import IMAGE_CONFIG
from ...client.copy import copy
from ...client.events import Listener, nobody
from ...client.opening import Opener
from ...client.place import OtherDigest, Place, PlaceKind
from ...client.places.indexed import IndexedRepository
from ...client.places.made import Made
from ...client.platforms import Platform
from ...client.pull import read_manifest
from ...oci import limits
from ...oci.descriptor import Descriptor
from ...oci.digest import Digest
from ...oci.errors import ArtifactInvalid
from ...oci.media_types import IMAGE_MANIFEST
from ...ports.store import StoredManifest
from ..events import OnEvent
from . import staging
from .options import How
from .pack import PackedLayer
from .unpacker import Unpacked, Unpacker


@dataclass(frozen=True, slots=True)
class UnpackedImage:
    """The manifest whose layers were unpacked, and what they were, the base first."""

    manifest: Descriptor
    layers: tuple[Unpacked, ...]


async def unpack_place(
    opener: Opener,
    place: Place,
    folder: str,
    how: How,
    platform: Platform | None = None,
    on_event: OnEvent | None = None,
    listener: Listener = nobody,
) -> UnpackedImage:
    """All layers of an image, as the new or empty folder `folder`.

    `platform` chooses of an index; None: that of this machine.  Raises CopyFailed,
    NoMatchingPlatform; ArtifactInvalid where `folder` has content; as `Unpacker.unpack_image`.
    """
    if staging.is_there(folder):
        raise ArtifactInvalid(f"{folder} has content already: name a new folder")
    repository = await opener.open(place)
    try:
        if place.kind is PlaceKind.DOCKER and place.reference is None:
            assert isinstance(repository, IndexedRepository)
            place = place.at((await repository.only()).digest)
        reference = place.required()
        found, manifest = await read_manifest(repository, reference)
        depth = 0
        while manifest.is_index:
            depth += 1
            if depth > limits.GRAPH_DEPTH:
                raise ArtifactInvalid(f"{place} has more than {depth} indexes in indexes")
            child = (platform or Platform.host()).choose(manifest, str(place), str(reference))
            found, manifest = await read_manifest(repository, child.digest)
        unpacker = Unpacker(
            folder, how, lambda: nullcontext(opener.runtime), None, on_event, listener
        )
        return UnpackedImage(found, tuple(await unpacker.unpack_image(manifest, repository)))
    finally:
        await repository.aclose()


async def push_layer(
    opener: Opener,
    packed: PackedLayer,
    place: Place,
    platform: Platform | None = None,
    listener: Listener = nobody,
) -> Descriptor:
    """An image of this one layer in `place`; its manifest.

    `platform` is that of its config; None: that of this machine.  Raises CopyFailed; OtherDigest
    where the place names another one.
    """
    described = platform or Platform.host()
    config = to_json(
        {
            "architecture": described.architecture,
            "os": described.os,
            **({"variant": described.variant} if described.variant else {}),
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [str(packed.diff_id)]},
        }
    )
    content = to_json(manifest_of(of_bytes(IMAGE_CONFIG, config), [packed.descriptor], None))
    manifest = of_bytes(IMAGE_MANIFEST, content)
    if place.digest is not None and place.digest != manifest.digest:
        raise OtherDigest(str(place.digest), str(manifest.digest))
    made = Made(opener.runtime, packed.path)
    made.files[packed.descriptor.digest] = packed.path, packed.descriptor.size
    made.contents[Digest.of(config)] = config
    made.manifests[manifest.digest] = StoredManifest(manifest.digest, IMAGE_MANIFEST, content)
    repository = await opener.open(place, create=True)
    try:
        tags = (place.tag,) if place.tag else ()
        await copy(
            made, manifest.digest, repository, tags, runtime=opener.runtime, listener=listener
        )
    finally:
        await repository.aclose()
    return manifest
