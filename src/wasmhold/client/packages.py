"""Packages by name: which registry has them, which versions there are, and their content."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ..oci.descriptor import Descriptor
from ..oci.errors import ArtifactInvalid, ManifestInvalid, NotFound
from ..oci.limits import KIB
from ..oci.reference import parse_name
from ..package import (
    WELL_KNOWN,
    PackageName,
    PackageSpec,
    RegistryMetadata,
    newest,
    version_of,
    wasm_layer,
)
from ..ports.repository import Repository
from ..semver import Version
from .network import Network
from .place import Place, PlaceInvalid, PlaceKind
from .pull import read_manifest
from .tags import all_tags
from .transport import Readable

FALL_BACKS: Final = {"wasi": "wasi.dev", "ba": "bytecodealliance.org"}
CREATED: Final = "org.opencontainers.image.created"
_MAX: Final = 64 * KIB  # bytes of a registry's metadata


class PackageUnknown(NotFound):
    """A package, or the version of it that is wanted, is nowhere to be found."""


@dataclass(frozen=True, slots=True)
class Release:
    """`content` is the Wasm layer: its digest is the release's."""

    spec: PackageSpec
    place: Place
    manifest: Descriptor
    content: Descriptor
    created: str | None = None


@dataclass(frozen=True, slots=True)
class Versions:
    """In ascending order; `skipped` counts tags that are no versions."""

    package: PackageName
    place: Place
    tags: dict[Version, str] = field(hash=False)
    skipped: int = 0

    @property
    def all(self) -> list[Version]:
        return sorted(self.tags)

    def tag(self, version: Version | None, *, prereleases: bool = False) -> tuple[Version, str]:
        """The tag of a version, of the newest when it is None.  Raises PackageUnknown."""
        chosen = newest(self.tags, prereleases=prereleases) if version is None else version
        if chosen is None or chosen not in self.tags:
            wanted = self.package if chosen is None else f"{self.package}@{chosen}"
            has = ", ".join(map(str, self.all[-20:])) or "none"
            raise PackageUnknown(f"there is no release {wanted} in {self.place}; there are: {has}")
        return chosen, self.tags[chosen]


def registry_of(package: PackageName, default: str | None) -> str:
    """The domain of a package's registry: the default goes before the fall-backs (WK-015)."""
    found = default or FALL_BACKS.get(package.namespace)
    if found is None:
        raise PlaceInvalid(
            f'no registry configured for namespace "{package.namespace}", give one with --registry',
            str(package),
        )
    return found


async def read_versions(repository: Repository, package: PackageName, place: Place) -> Versions:
    """Every version that a tag of the repository stands for."""
    found: dict[Version, str] = {}
    skipped = 0
    for tag in await all_tags(repository):
        version = version_of(tag)
        if version is None:
            skipped += 1
        else:
            found[version] = tag
    return Versions(package, place, found, skipped)


async def read_release(
    repository: Repository, versions: Versions, version: Version | None, *, prereleases: bool
) -> Release:
    """Raises PackageUnknown; ArtifactInvalid for what has no one Wasm layer; CopyFailed."""
    chosen, tag = versions.tag(version, prereleases=prereleases)
    manifest, document = await read_manifest(repository, tag)
    return Release(
        PackageSpec(versions.package, chosen),
        versions.place.at(manifest.digest),
        manifest,
        wasm_layer(document),
        document.annotations.get(CREATED),
    )


async def find_place(
    network: Network, package: PackageName, domain: str, warn: Callable[[str], None]
) -> Place:
    """The repository of a package, by what `domain` says of itself.

    Raises ArtifactInvalid for a domain of the warg protocol alone; ManifestInvalid for metadata
    that cannot be read; Unreachable.
    """
    metadata = await network.runtime.offload(_metadata, network, domain)
    if metadata.is_warg_alone:
        raise ArtifactInvalid(
            f"registry {domain} speaks the warg protocol, which no longer exists; it offers no OCI "
            "address"
        )
    if metadata.prefix != metadata.whole_prefix:
        warn(f"the namespace prefix of {domain} has no slash at its end: one is added")
    name = parse_name(metadata.repository(package))
    return Place(PlaceKind.REGISTRY, metadata.registry or domain, name)


def _metadata(network: Network, domain: str) -> RegistryMetadata:
    base = network.base(domain)
    for path in WELL_KNOWN:
        answer = network.transport.request("GET", f"{base}{path}", follow=True)
        content = _read(answer.body)
        if answer.status in (404, 410):
            continue
        if not 200 <= answer.status < 300:
            raise ArtifactInvalid(f"{base}{path}: the answer has status {answer.status}")
        try:
            return RegistryMetadata.parse(content)
        except ManifestInvalid as error:
            raise ArtifactInvalid(f"{base}{path}: {error}") from error
    return RegistryMetadata()


def _read(body: Readable) -> bytes:
    try:
        content = b""
        while piece := body.read(_MAX):
            content += piece
            if len(content) > _MAX:
                raise ArtifactInvalid(f"a registry's metadata has more than {_MAX} bytes")
        return content
    finally:
        body.close()
