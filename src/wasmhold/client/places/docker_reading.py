"""A docker archive on its way to a layout: manifests that are found beside, or made.

A plain layer is named by the digest that the image's config has for it: whoever takes it hashes it.
A compressed one is read once, for its own digest and that of what is in it.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import IO, Final, TypeAlias, cast

from ...artifact.media_types import IMAGE_CONFIG, TAR
from ...oci import limits, media_types
from ...oci.children import is_manifest
from ...oci.descriptor import Descriptor
from ...oci.digest import Digest, hasher
from ...oci.document import parse_object
from ...oci.errors import ContentDamaged, DigestInvalid, DigestMismatch, ManifestInvalid
from ...oci.layout import INDEX_FILE, LAYOUT, LAYOUT_FILE, LayoutIndex, Naming, blob_name
from ...oci.manifest import Manifest, parse_manifest
from ...oci.reference import split_tag
from . import compression
from .archive import ImportLimits, layout_files, small
from .docker_saved import MANIFEST_FILE, Saved, parse_saved
from .indexed import read_index
from .tar import Members, Region

_Digests: TypeAlias = tuple[Digest | None, ...]

_HEX: Final = re.compile(r"(?:sha256:)?([0-9a-f]{64})(?:\.json|\.tar|\.tar\.gz)?")


class DockerReading:
    """An archive on its way to a layout."""

    def __init__(
        self,
        members: Members,
        archive: str,
        keep: Callable[[bytes], Region],
        bounds: ImportLimits,
    ) -> None:
        self._members, self._archive = members, archive
        self._keep, self._bounds = keep, bounds
        self._files = layout_files(members, archive)
        self._made = 0  # bytes of manifests
        self._configs: dict[str, tuple[Descriptor, list[Digest]]] = {}
        self._layers: dict[tuple[int, Digest], Descriptor] = {}  # by where they begin

    def layout(self) -> dict[str, Region]:
        content = small(self._file(MANIFEST_FILE), limits.LAYOUT_INDEX, self._at(MANIFEST_FILE))
        try:
            images = parse_saved(content)
        except ManifestInvalid as error:
            raise self._damaged(MANIFEST_FILE, str(error)) from None
        wanted = [(_blob_of(image.config), *map(_blob_of, image.layers)) for image in images]
        known = self._known(set(wanted))
        entries: list[Descriptor] = []
        for image, names in zip(images, wanted, strict=True):
            manifest = known.get(names) or self._manifest(image)
            entries += _entries(manifest, image.names)
        self._files[LAYOUT_FILE] = self._keep(LAYOUT)
        self._files[INDEX_FILE] = self._keep(LayoutIndex.of(entries).dump())
        return self._files

    def _at(self, name: str) -> str:
        return f"{self._archive}: {name}"

    def _damaged(self, name: str, reason: str) -> ContentDamaged:
        return ContentDamaged(f"{self._at(name)}: {reason}")

    def _file(self, name: str) -> Region:
        region = self._members.follow(name.removeprefix("./"))
        if region is None:
            raise self._damaged(MANIFEST_FILE, f"{name} is not in the archive, or no plain file")
        return region

    # ---- manifests that are there

    def _known(self, wanted: Collection[_Digests]) -> dict[_Digests, Descriptor]:
        """Those images of the layout beside that are wanted, by the digests of config and layers.

        Nothing else of it is remembered: its manifests may be many, and large.
        """
        found: dict[_Digests, Descriptor] = {}
        if INDEX_FILE not in self._files:
            return found
        layout = self._files.get(LAYOUT_FILE)
        index = read_index(
            self._archive,
            None if layout is None else small(layout, limits.MANIFEST, self._at(LAYOUT_FILE)),
            small(self._files[INDEX_FILE], limits.LAYOUT_INDEX, self._at(INDEX_FILE)),
        )
        todo: dict[Digest, Descriptor] = {}
        seen = set[Digest]()

        def add(entries: Iterable[Descriptor]) -> None:
            for entry in entries:
                # Of an index docker saves the children that it has.
                is_there = blob_name(entry.digest) in self._files
                if is_there and entry.digest not in seen and is_manifest(entry):
                    todo[entry.digest] = entry

        add(index.entries)
        while todo:
            digest, entry = todo.popitem()
            seen.add(digest)
            manifest = self._parsed(entry, self._files[blob_name(digest)])
            add(manifest.manifests)
            if manifest.config is not None:
                digests = (manifest.config.digest, *(layer.digest for layer in manifest.layers))
                if digests in wanted:
                    found[digests] = replace(entry, annotations={}, platform=None)
        return found

    def _parsed(self, entry: Descriptor, region: Region) -> Manifest:
        name = blob_name(entry.digest)
        content = small(region, limits.MANIFEST, self._at(name))
        actual = Digest.of(content, entry.digest.algorithm)
        if actual != entry.digest:
            raise DigestMismatch(str(entry.digest), str(actual))
        try:
            return parse_manifest(content, entry.media_type)
        except ManifestInvalid as error:
            raise self._damaged(name, str(error)) from None

    # ---- manifests that are made

    def _manifest(self, image: Saved) -> Descriptor:
        """The manifest of an image, which is made of what its config says of its layers."""
        config, diff_ids = self._config(image.config)
        if len(diff_ids) != len(image.layers):
            told = f"has {len(diff_ids)} layers by its config, and {len(image.layers)} here"
            raise self._damaged(MANIFEST_FILE, f"{image.config} {told}")
        layers = [
            image.elsewhere.get(str(diff_id)) or self._layer(name, diff_id)
            if is_absent(self._members, name)
            else self._layer(name, diff_id)
            for name, diff_id in zip(image.layers, diff_ids, strict=True)
        ]
        members = {
            "schemaVersion": 2,
            "mediaType": media_types.IMAGE_MANIFEST,
            "config": config.to_json(),
            "layers": [layer.to_json() for layer in layers],
        }
        content = json.dumps(members, separators=(",", ":")).encode()
        self._made += len(content)
        if len(content) > limits.MANIFEST or self._made > limits.LAYOUT_INDEX:
            raise self._damaged(MANIFEST_FILE, "it leads to more layers than are taken")
        digest = Digest.of(content)
        self._files[blob_name(digest)] = self._keep(content)
        return Descriptor(media_types.IMAGE_MANIFEST, digest, len(content))

    def _config(self, name: str) -> tuple[Descriptor, list[Digest]]:
        found = self._configs.get(name)
        if found is None:
            region = self._file(name)
            content = small(region, limits.MANIFEST, self._at(name))
            digest = Digest.of(content)
            _promised(name, digest)
            self._files[blob_name(digest)] = region
            descriptor = Descriptor(IMAGE_CONFIG, digest, len(content))
            self._configs[name] = found = descriptor, self._diff_ids(name, content)
        return found

    def _diff_ids(self, name: str, content: bytes) -> list[Digest]:
        try:
            rootfs = parse_object(content).get("rootfs")
            diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
            return [Digest.parse(str(text)) for text in diff_ids or ()]
        except (ManifestInvalid, DigestInvalid) as error:
            raise self._damaged(name, f"no config of an image: {error}") from None

    def _layer(self, name: str, diff_id: Digest) -> Descriptor:
        region = self._file(name)
        layer = self._layers.get((region.start, diff_id))
        if layer is None:
            layer = self._described(name, region, diff_id)
            self._layers[region.start, diff_id] = layer
            self._files[blob_name(layer.digest)] = region
        return layer

    def _described(self, name: str, region: Region, diff_id: Digest) -> Descriptor:
        start = os.pread(region.descriptor, min(4, region.size), region.start)
        kind = compression.of_content(start)
        if kind is None:
            # Whoever takes the layer hashes it, so what it should be is enough here.
            _promised(name, diff_id)
            return Descriptor(TAR, diff_id, region.size)
        content = _Hashed(region)
        unpacked = hasher(diff_id.algorithm)
        limit = self._bounds.unpacked(region.size)
        for piece in compression.pieces(kind, content.file, limit, self._at(name)):
            unpacked.update(piece)
        actual = Digest(diff_id.algorithm, unpacked.hexdigest())
        if actual != diff_id:
            raise DigestMismatch(str(diff_id), str(actual))
        digest = content.digest()
        _promised(name, digest, diff_id)
        return Descriptor(f"{TAR}+{kind}", digest, region.size)


class _Hashed(io.RawIOBase):
    """Reads a region, and hashes what was read."""

    def __init__(self, region: Region) -> None:
        self._pieces = region.pieces()
        self._rest = b""
        self._running = hasher()

    @property
    def file(self) -> IO[bytes]:
        return cast(IO[bytes], io.BufferedReader(self))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        if not self._rest:
            self._rest = next(self._pieces, b"")
            self._running.update(self._rest)
        piece, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)

    def digest(self) -> Digest:
        for piece in self._pieces:
            self._running.update(piece)
        return Digest("sha256", self._running.hexdigest())


def is_absent(members: Members, name: str) -> bool:
    return members.follow(name.removeprefix("./")) is None


def _blob_of(name: str) -> Digest | None:
    """The digest of a blob of a layout, by its name."""
    parts = name.removeprefix("./").split("/")
    try:
        return Digest.parse(":".join(parts[1:])) if parts[0] == "blobs" else None
    except DigestInvalid:
        return None


def _promised(name: str, *digests: Digest) -> None:
    """Tools name files by digests: then they have one of these.  Raises DigestMismatch."""
    found = _HEX.fullmatch(name.rpartition("/")[2])
    if found is not None and found[1] not in [digest.encoded for digest in digests]:
        raise DigestMismatch(f"sha256:{found[1]}", str(digests[0]))


def _entries(manifest: Descriptor, names: Sequence[str]) -> list[Descriptor]:
    if not names:
        return [manifest]
    return [
        replace(manifest, annotations=Naming(repository).annotations(tag or ""))
        for repository, tag in map(split_tag, names)
    ]
