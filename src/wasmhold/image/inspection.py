"""What an image says of itself: its manifest, and the config of a container.

Functions over a puller, which has each of them as a method.  No layer is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ..artifact import candidates
from ..artifact.media_types import CNCF_CONFIG, IMAGE_CONFIGS
from ..client.platforms import NoMatchingPlatform, Platform, platforms_of
from ..oci.descriptor import Descriptor
from ..oci.errors import NotFound, TooLarge
from ..ports.body import read_all
from .call import Call
from .config import MAX_CONFIG, ConfigInvalid, ImageConfig
from .layer import twice
from .manifests import PulledManifest

if TYPE_CHECKING:
    from .puller import Puller

# The configs that have a platform where one of a container has it.
_READ: Final = IMAGE_CONFIGS | {CNCF_CONFIG}


@dataclass(frozen=True, slots=True)
class ImageInspection:
    """None and empty for what nothing says.

    digest         of the manifest, which of an index is the one of a platform
    annotations    of the manifest
    labels         of the config; `created` too, text as in RFC 3339
    artifact_type  of what is no container
    platforms      of all the children of an index, as text
    """

    digest: str
    os: str | None = None
    architecture: str | None = None
    variant: str | None = None
    os_version: str | None = None
    os_features: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    created: str | None = None
    artifact_type: str | None = None
    platforms: tuple[str, ...] = ()


async def pull_image_config(
    puller: Puller, call: Call, platform: Platform | str | None
) -> ImageConfig:
    """The config blob, whatever its type, as that of a container."""
    manifest = await puller.manifests.chosen(call, puller.platform(platform))
    found = ImageConfig()
    if manifest.config is not None:
        found = await _config(puller, call, manifest.config)
    return found


async def inspect(puller: Puller, call: Call, platform: Platform | str | None) -> ImageInspection:
    """What is known without the layers.

    Of an index it is the child for the platform; where none is asked for, and there is none for the
    puller's, the first one, so that an image of another system can be looked at.
    """
    wanted = puller.platform(platform)

    def choose(index: PulledManifest) -> Descriptor:
        try:
            return wanted.choose(index, call.image.repository, str(call.image.reference))
        except NoMatchingPlatform:
            first = next((child for child in candidates(index) if child.platform), None)
            if platform is None and first is not None:
                return first
            raise

    manifest = await puller.manifests.follow(call, choose)
    config = ImageConfig()
    if manifest.config is not None and manifest.config.media_type in _READ:
        with suppress(NotFound):  # as where nothing but what is here may be asked
            config = await _config(puller, call, manifest.config)
    return _inspection(manifest, config)


def _inspection(manifest: PulledManifest, config: ImageConfig) -> ImageInspection:
    of, platforms = _above(manifest)
    said = Platform.of(of.platform or {}) if of is not None else Platform("", "")
    return ImageInspection(
        digest=str(manifest.digest),
        os=config.os or said.os or None,
        architecture=config.architecture or said.architecture or None,
        variant=config.variant or said.variant,
        os_version=config.os_version or said.os_version,
        os_features=config.os_features or said.os_features,
        annotations=manifest.annotations,
        labels=config.labels,
        created=config.created,
        artifact_type=manifest.artifact_type,
        platforms=platforms,
    )


def _above(manifest: PulledManifest) -> tuple[Descriptor | None, tuple[str, ...]]:
    """How the index calls the manifest, and all that it has."""
    index = manifest.index
    if index is None:
        return None, ()
    of = next((child for child in candidates(index) if child.digest == manifest.digest), None)
    return of, tuple(platforms_of(index))


async def _config(puller: Puller, call: Call, config: Descriptor) -> ImageConfig:
    """Raises TooLarge; ConfigInvalid; what a pull does."""
    if config.size > MAX_CONFIG:
        raise TooLarge(MAX_CONFIG)

    async def read() -> bytes:
        async with await puller.blobs.open(call, config) as stream:
            return await read_all(stream)

    try:
        return ImageConfig.from_json(await twice(read))
    except ConfigInvalid as error:
        raise ConfigInvalid(*error.faults, image=str(call.image)) from None
