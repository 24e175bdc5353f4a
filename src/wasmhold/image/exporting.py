"""An image becomes a file or a folder that other tools read: a layout, or docker's archive.

It is a copy into such a place, so all that holds for copies holds here: every byte is verified, and
nothing has its name before all of it is there.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final, Literal, Protocol, TypeAlias, TypedDict, cast

from ..client.copy import Copier
from ..client.events import Listener, nobody
from ..client.opening import Opener
from ..client.places import compression
from ..client.places.archive import Output, open_archive
from ..client.places.docker import open_docker_archive
from ..client.places.indexed import IndexedRepository
from ..client.places.layout import open_layout
from ..client.plan import Options as CopyOptions
from ..client.platforms import Platform
from ..oci.descriptor import Descriptor
from ..oci.digest import Digest
from ..oci.document import parse_object
from ..oci.errors import Unsupported
from ..oci.layout import Naming, tag_of, whole_name_of
from ..oci.limits import MIB
from ..oci.manifest import parse_manifest
from ..oci.reference import familiar
from ..ports.repository import Repository
from ..ports.runtime import ClientRuntime
from ..ports.store import StoredManifest
from .holding import Holder, Holding, count_layers
from .reference import ImageReference

_PIECE: Final = MIB  # bytes that are copied at once


class Writer(Protocol):
    """A stream that an archive is written to."""

    def write(self, content: bytes, /) -> object: ...


Target: TypeAlias = str | os.PathLike[str] | Writer


class ExportOptions(TypedDict, total=False):
    """What an export may be told; `How` says what each is."""

    form: Literal["oci", "docker"]
    compression: Literal["gzip", "zstd", "none"] | None
    platforms: str | Platform | Sequence[str | Platform]
    referrers: bool
    foreign: bool
    ref_name: Literal["tag", "full"]
    listener: Listener


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """What `ExportOptions` mean; the defaults.

    form         an image layout, or docker's archive, which holds one image of one platform
    compression  of an archive; None: as its name ends
    platforms    of an index: ``all``, the manifest for one, or a new index of several
    referrers    also what refers to the image
    foreign      also layers that are not to be distributed, where they are here
    ref_name     whether the index names the tag, or the whole name, in ``ref.name``
    listener     hears of what is copied
    """

    form: Literal["oci", "docker"] = "oci"
    compression: Literal["gzip", "zstd", "none"] | None = None
    platforms: str | Platform | Sequence[str | Platform] = "all"
    referrers: bool = False
    foreign: bool = False
    ref_name: Literal["tag", "full"] = "tag"
    listener: Listener = nobody

    def wanted(self) -> list[Platform]:
        """Empty: all.  Raises PlatformInvalid."""
        given = self.platforms
        if given == "all":
            return []
        many = [given] if isinstance(given, str | Platform) else given
        return [Platform.parse(one) if isinstance(one, str) else one for one in many]


@dataclass(frozen=True, slots=True)
class ExportInfo:
    """What was written.

    root     what it leads to
    layers   of all its images, each once
    size     bytes of the file; of a folder, those that were put there
    path     None for a stream
    skipped  layers that are not to be distributed, or are to be had elsewhere
    """

    root: Descriptor
    layers: int
    size: int
    path: str | None
    skipped: tuple[Descriptor, ...]

    @property
    def digest(self) -> Digest:
        return self.root.digest


async def export(
    opener: Opener, source: Holder, reference: str | None, output: Target, how: How
) -> ExportInfo:
    """Write what `reference` names in `source`: a tag, a digest, or a whole name.

    Without a reference the source is a place that has one.  `output` is a path, a folder where it
    is one or ends with a slash, else an archive, which replaces what had its name; or a stream.
    Raises NameInvalid, PlaceInvalid, PlatformInvalid; ManifestUnknown; Unsupported for what a
    docker archive does not hold; CopyFailed; Denied, OutOfSpace, StoreUnavailable of the disk.
    """
    if isinstance(output, str | os.PathLike):
        return await _to_path(opener, source, reference, os.fspath(output), how)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "image.tar")
        info = await _to_path(opener, source, reference, path, how)
        await opener.runtime.offload(_pour_file, path, output)
    return replace(info, path=None)


def _pour_file(path: str, output: Writer) -> None:
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            output.write(piece)


async def _to_path(
    opener: Opener, source: Holder, reference: str | None, path: str, how: How
) -> ExportInfo:
    holding, platforms = Holding(source, opener), how.wanted()
    image, wanted = holding.understood(reference)
    async with holding.source(image, wanted) as repository:
        if wanted == "" and isinstance(repository, IndexedRepository):
            wanted = (await repository.only()).digest
        name, tag = await _name(holding, image, repository, wanted)
        if len(platforms) > 1:
            repository, wanted = await _with_index(repository, wanted, platforms)
        options = CopyOptions(
            how.referrers,
            platforms[0] if len(platforms) == 1 else None,
            opener.settings.concurrency,
            how.foreign,
        )
        async with aclosing(_target(path, name, how, opener.runtime)) as target:
            copier = Copier(repository, target, opener.runtime, options, how.listener)
            tags = (tag,) if tag and (name or how.form == "oci") else ()
            plan = await copier.plan(wanted, tags)
            done = await copier.follow(plan)
            layers = await count_layers(target, plan.roots[0])
        is_file = await opener.runtime.offload(os.path.isfile, path)
        written = done.moved + sum(one.size for one in plan.manifests)
        size = await opener.runtime.offload(os.path.getsize, path) if is_file else written
        return ExportInfo(plan.roots[0], layers, size, path, plan.left_out)


async def _name(
    holding: Holding, image: ImageReference | None, repository: Repository, wanted: str | Digest
) -> tuple[str, str | None]:
    """The whole name of the repository, as containerd has it, and the tag; empty: it has none."""
    tag = wanted if isinstance(wanted, str) else None
    if image is not None:
        return image.repository, image.tag
    if holding.place is not None and holding.place.whole_name:
        name = ImageReference.parse(holding.place.whole_name).repository
        return name, tag or holding.place.tag
    if isinstance(repository, IndexedRepository):
        for entry in await repository.entries():
            whole = whole_name_of(entry)
            if whole is not None and wanted in (entry.digest, tag_of(entry)):
                return ImageReference.parse(whole).repository, tag_of(entry)
    return "", tag


def _target(path: str, name: str, how: How, runtime: ClientRuntime) -> IndexedRepository:
    """Raises Unsupported where form, compression and path do not go together."""
    is_folder = path.endswith(os.sep) or os.path.isdir(path)
    if is_folder and (how.form == "docker" or how.compression is not None):
        raise Unsupported(f"{path} is a folder, which becomes a layout: name a file instead")
    output = Output(how.compression, is_new=True)
    compression.chosen(how.compression, path)
    if how.form == "docker":
        return open_docker_archive(path, familiar(name), runtime, output)
    naming = Naming(name, whole=how.ref_name == "full")
    if is_folder:
        return open_layout(path, runtime, naming)
    return open_archive(path, runtime, naming, output)


# ---- several platforms of an index


async def _with_index(
    repository: Repository, reference: str | Digest, platforms: Sequence[Platform]
) -> tuple[Repository, str | Digest]:
    """The repository with a new index of the children that are wanted; of an image, as it is.

    Raises ManifestUnknown; NoMatchingPlatform.
    """
    stored = await repository.manifest_get(reference)
    index = parse_manifest(stored.content, stored.media_type)
    if not index.is_index:
        return repository, reference
    chosen = {one.choose(index, repository.place, str(reference)).digest for one in platforms}
    members = parse_object(stored.content)
    items = cast("list[object]", members["manifests"])
    members["manifests"] = [
        item for item, child in zip(items, index.manifests, strict=True) if child.digest in chosen
    ]
    content = json.dumps(members, separators=(",", ":")).encode()
    made = StoredManifest(Digest.of(content), stored.media_type, content)
    return cast("Repository", _WithIndex(repository, made)), made.digest


class _WithIndex:
    """A repository that also has a manifest that was made here."""

    def __init__(self, repository: Repository, made: StoredManifest) -> None:
        self._repository, self._made = repository, made

    def __getattr__(self, name: str) -> object:
        return getattr(self._repository, name)

    async def resolve(self, reference: str | Digest) -> Descriptor | None:
        if reference != self._made.digest:
            return await self._repository.resolve(reference)
        return self._made.descriptor

    async def manifest_get(self, reference: str | Digest) -> StoredManifest:
        if reference != self._made.digest:
            return await self._repository.manifest_get(reference)
        return self._made
