"""Manifests and indexes: the documents of the content graph.  Source: image-spec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from . import media_types
from .descriptor import Descriptor, read_descriptor, read_media_type, read_text_map
from .digest import Digest
from .document import parse_object
from .errors import Fault, ManifestInvalid

_MAX_FAULTS = 20  # of one document that are told; more help nobody


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the graph needs to know of a manifest; its bytes are kept apart, as they came.

    An index has `manifests`; an image or artifact has `config` and `layers`.
    """

    media_type: str
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] = ()
    manifests: tuple[Descriptor, ...] = ()
    subject: Descriptor | None = None
    artifact_type: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def is_index(self) -> bool:
        return self.media_type in media_types.INDEXES

    @property
    def children(self) -> tuple[Descriptor, ...]:
        """Every descriptor that it points at downwards: config, layers, manifests."""
        return (*((self.config,) if self.config else ()), *self.layers, *self.manifests)

    def to_json(self) -> dict[str, object]:
        """The members that are set, in the order of the specification."""
        document: dict[str, object] = {"schemaVersion": 2, "mediaType": self.media_type}
        if self.artifact_type is not None:
            document["artifactType"] = self.artifact_type
        if self.is_index:
            document["manifests"] = [child.to_json() for child in self.manifests]
        elif self.config is not None:
            document["config"] = self.config.to_json()
            document["layers"] = [layer.to_json() for layer in self.layers]
        if self.subject is not None:
            document["subject"] = self.subject.to_json()
        if self.annotations:
            document["annotations"] = dict(self.annotations)
        return document

    def descriptor(self, digest: Digest, size: int) -> Descriptor:
        """How a list of referrers names this manifest (distribution-spec, "Listing Referrers").

        The artifact type is the manifest's own, else the media type of an image's config.
        """
        artifact_type = self.artifact_type or (self.config.media_type if self.config else None)
        return Descriptor(self.media_type, digest, size, artifact_type, self.annotations)


Index = Manifest  # by the name that others have for what `is_index`


def _guess(members: Mapping[str, object]) -> str | None:
    """The media type of a document that does not say it, by what it holds (OW-133)."""
    if "manifests" in members:
        return media_types.IMAGE_INDEX
    if "layers" in members or "config" in members:
        return media_types.IMAGE_MANIFEST
    return None


def _media_type(members: Mapping[str, object], declared: str | None) -> str:
    stated = members.get("mediaType")
    if stated is not None and not isinstance(stated, str):
        raise ManifestInvalid(Fault("mediaType", "want text"))
    if stated and declared and stated != declared:
        raise ManifestInvalid(Fault("mediaType", f"is {stated!r}, the header says {declared!r}"))
    media_type = declared or stated or _guess(members)
    if media_type not in media_types.MANIFESTS | media_types.INDEXES:
        raise ManifestInvalid(Fault("mediaType", f"{media_type!r} is no manifest that we take"))
    return media_type


def parse_manifest(content: bytes, declared: str | None = None) -> Manifest:
    """Read a manifest or index; unknown members are let be.

    `declared` is the media type of the request, without parameters; when it is None the document
    says it, or shows it by what it holds.

    Raises ManifestInvalid with all faults of the document.
    """
    members = parse_object(content)
    media_type = _media_type(members, declared)
    faults: list[Fault] = []
    if members.get("schemaVersion") != 2 or isinstance(members["schemaVersion"], bool):
        faults.append(Fault("schemaVersion", "want 2"))
    is_index = media_type in media_types.INDEXES
    # A document that is both would be read as one thing here and as the other elsewhere.
    for stranger in ("config", "layers") if is_index else ("manifests",):
        if stranger in members:
            faults.append(Fault(stranger, f"does not belong into {media_type}"))

    def many(key: str) -> tuple[Descriptor, ...]:
        items = members.get(key)
        if items is None and key == "layers":
            return ()
        if not isinstance(items, list):
            faults.append(Fault(key, "want a list of descriptors"))
            return ()
        found = (read_descriptor(item, f"{key}[{i}]", faults) for i, item in enumerate(items))
        return tuple(d for d in found if d is not None)

    def one(key: str) -> Descriptor | None:
        return None if members.get(key) is None else read_descriptor(members[key], key, faults)

    if not is_index and members.get("config") is None:
        faults.append(Fault("config", "want a descriptor"))
    artifact_type = members.get("artifactType") or None
    if artifact_type is not None:
        artifact_type = read_media_type(artifact_type, "artifactType", faults)
    manifest = Manifest(
        media_type,
        config=None if is_index else one("config"),
        layers=() if is_index else many("layers"),
        manifests=many("manifests") if is_index else (),
        subject=one("subject"),
        artifact_type=artifact_type,
        annotations=read_text_map(members.get("annotations"), "annotations", faults),
    )
    if faults:
        raise ManifestInvalid(*faults[:_MAX_FAULTS])
    return manifest
