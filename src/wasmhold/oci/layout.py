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
from .reference import familiar, parse_tag, split_tag

LAYOUT_FILE: Final = "oci-layout"
INDEX_FILE: Final = "index.json"
LAYOUT: Final = b'{"imageLayoutVersion": "1.0.0"}'

REF_NAME: Final = "org.opencontainers.image.ref.name"  # "Pre-Defined Annotation Keys"
IMAGE_NAME: Final = "io.containerd.image.name"  # docker's and containerd's: NAME:TAG

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
    """The tag that an entry names; of a whole name, as some tools write it, its tag."""
    text = entry.annotations.get(REF_NAME, "").partition("@")[0]
    try:
        return parse_tag(text.rpartition(":")[2])
    except TagInvalid:
        return None


def whole_name_of(entry: Descriptor) -> str | None:
    """``NAME:TAG``, where an entry says more than a tag."""
    text = entry.annotations.get(IMAGE_NAME) or entry.annotations.get(REF_NAME, "")
    return text if ":" in text or "/" in text else None


@dataclass(frozen=True, slots=True)
class Naming:
    """How the tags of one repository stand in an index that may hold several.

    `name` is the repository's, with its host where it has one; empty: the index holds one, which
    has no name.  `whole`: the annotation for the tag has the whole name too.
    """

    name: str = ""
    whole: bool = False

    def tag_of(self, entry: Descriptor) -> str | None:
        """None also for what has the name of another repository."""
        whole = whole_name_of(entry) if self.name else None
        if whole is not None and familiar(split_tag(whole)[0]) != familiar(self.name):
            return None
        return tag_of(entry)

    def annotations(self, tag: str) -> dict[str, str]:
        if not self.name:
            return {REF_NAME: tag}
        whole = f"{self.name}:{tag}"
        return {REF_NAME: whole if self.whole else tag, IMAGE_NAME: whole}


_ONE: Final = Naming()


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
    def of(cls, entries: Iterable[Descriptor]) -> Self:
        """With these entries, as they are."""
        lines = [_line(entry) for entry in entries]
        items, same = tuple(item for item, _ in lines), tuple(entry for _, entry in lines)
        return replace(cls.empty(), items=items, entries=same)

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

    def tags(self, naming: Naming = _ONE) -> dict[str, Descriptor]:
        """Of entries with one name the last one holds: it was added last."""
        named = ((naming.tag_of(entry), entry) for entry in self.entries)
        return {tag: entry for tag, entry in named if tag is not None}

    def change(
        self,
        tags: Mapping[str, Descriptor | None],
        manifests: Iterable[Descriptor] = (),
        removed: Collection[Digest] = (),
        naming: Naming = _ONE,
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
            tag = naming.tag_of(entry)
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
                annotations = {**_nameless(descriptor).annotations, **naming.annotations(tag)}
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
    names = (REF_NAME, IMAGE_NAME)
    rest = {key: value for key, value in entry.annotations.items() if key not in names}
    return replace(entry, annotations=rest)


def _line(entry: Descriptor) -> tuple[Mapping[str, object], Descriptor]:
    return entry.to_json(), entry
