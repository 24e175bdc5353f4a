"""Image layouts: the names in one, and its ``index.json``.  Source: image-spec, "Image Layout"."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Self

from . import media_types
from .descriptor import Descriptor, read_descriptor
from .digest import Digest
from .document import parse_object
from .errors import Fault, ManifestInvalid, TagInvalid
from .reference import parse_tag

LAYOUT_FILE: Final = "oci-layout"
INDEX_FILE: Final = "index.json"
LAYOUT: Final = b'{"imageLayoutVersion": "1.0.0"}'

REF_NAME: Final = "org.opencontainers.image.ref.name"  # "Pre-Defined Annotation Keys"

_MAX_FAULTS: Final = 20  # of one document that are told


def blob_name(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.encoded}"


def check_layout(content: bytes) -> None:
    """Raises ManifestInvalid for an ``oci-layout`` of another version, or none at all."""
    version = parse_object(content).get("imageLayoutVersion")
    # "1.1.0" would add, "2.0.0" could mean anything.
    if not isinstance(version, str) or version.partition(".")[0] != "1":
        raise ManifestInvalid(Fault("imageLayoutVersion", f"want 1.0.0, not {version!r}"))


def tag_of(entry: Descriptor) -> str | None:
    """The tag that an entry names; of a whole reference, as some tools write it, its tag."""
    text = entry.annotations.get(REF_NAME, "").partition("@")[0]
    try:
        return parse_tag(text.rpartition(":")[2])
    except TagInvalid:
        return None


@dataclass(frozen=True, slots=True)
class LayoutIndex:
    """An ``index.json`` that is read and changed; members that we do not know stay.

    `items` are its manifests as they are written, `entries` the same as descriptors.
    """

    members: Mapping[str, object]
    items: tuple[Mapping[str, object], ...] = ()
    entries: tuple[Descriptor, ...] = ()

    @classmethod
    def empty(cls) -> Self:
        return cls({"schemaVersion": 2, "mediaType": media_types.IMAGE_INDEX, "manifests": []})

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Raises ManifestInvalid with all that is wrong."""
        members = parse_object(content)
        items = members.get("manifests")
        if items is None:  # as Go writes an empty list
            items = []
        if not isinstance(items, list):
            raise ManifestInvalid(Fault("manifests", "want a list of descriptors"))
        faults: list[Fault] = []
        found = [read_descriptor(item, f"manifests[{i}]", faults) for i, item in enumerate(items)]
        if faults:
            raise ManifestInvalid(*faults[:_MAX_FAULTS])
        return cls(members, tuple(items), tuple(entry for entry in found if entry is not None))

    def dump(self) -> bytes:
        """The document, an entry on each line."""
        others = {key: value for key, value in self.members.items() if key != "manifests"}
        head = json.dumps({"schemaVersion": 2, **others}, separators=(",", ":"))
        lines = ",\n".join(json.dumps(item, separators=(",", ":")) for item in self.items)
        return f'{head[:-1]},"manifests":[\n{lines}\n]}}\n'.encode()

    @property
    def tags(self) -> dict[str, Descriptor]:
        """Of entries with one name the last one holds: it was added last."""
        named = ((tag_of(entry), entry) for entry in self.entries)
        return {tag: entry for tag, entry in named if tag is not None}

    def change(
        self,
        tags: Mapping[str, Descriptor | None],
        manifests: Iterable[Descriptor] = (),
        removed: Collection[Digest] = (),
    ) -> Self:
        """With these tags (None: without), an entry at least for each of `manifests`, and none
        for what is `removed`.

        What had a tag before keeps an entry without a name: nothing is lost.  All other entries
        stay as they are.
        """
        named = {descriptor.digest for descriptor in tags.values() if descriptor is not None}
        lines: list[tuple[Mapping[str, object], Descriptor]] = []
        todo, loose = dict(tags), [*manifests]
        for item, entry in zip(self.items, self.entries, strict=True):
            tag = tag_of(entry)
            wanted = tags.get(tag, entry) if tag is not None else entry
            if entry.digest in removed:
                continue
            if wanted is None or wanted.digest != entry.digest:
                loose.append(_nameless(entry))
            elif entry.annotations or entry.digest not in named:
                lines.append((item, entry))
                todo.pop(tag or "", None)
        for tag, descriptor in todo.items():
            if descriptor is not None:
                annotations = {**_nameless(descriptor).annotations, REF_NAME: tag}
                lines.append(_line(replace(descriptor, annotations=annotations)))
        listed = {entry.digest for _, entry in lines} | {*removed}
        for descriptor in loose:
            if descriptor.digest not in listed:
                listed.add(descriptor.digest)
                lines.append(_line(descriptor))
        return replace(
            self,
            items=tuple(item for item, _ in lines),
            entries=tuple(entry for _, entry in lines),
        )


def _nameless(entry: Descriptor) -> Descriptor:
    rest = {key: value for key, value in entry.annotations.items() if key != REF_NAME}
    return replace(entry, annotations=rest)


def _line(entry: Descriptor) -> tuple[Mapping[str, object], Descriptor]:
    return entry.to_json(), entry
