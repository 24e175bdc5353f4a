"""What building an artifact gives, and how its JSON is written."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ..oci.descriptor import Descriptor
from ..oci.digest import Digest
from ..oci.errors import ArtifactInvalid, InputError
from ..oci.media_types import IMAGE_INDEX, IMAGE_MANIFEST

EMPTY_CONFIG: Final = b"{}"
_TIME: Final = re.compile(
    r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\dZ",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Artifact:
    """The bytes of manifest and config, and the layers that whoever pushes it must have.

    `contents` are layers that were made with it, and `index` is what a tag names where the
    manifest stands in one.  The bytes are the digests: nothing may write them anew.
    """

    manifest: bytes
    config: bytes
    config_descriptor: Descriptor
    layers: tuple[Descriptor, ...]
    contents: tuple[bytes, ...] = ()
    index: bytes | None = None

    @property
    def descriptor(self) -> Descriptor:
        """Of what a tag names: the index where there is one, else the manifest."""
        return self.manifests[-1][0]

    @property
    def manifests(self) -> tuple[tuple[Descriptor, bytes], ...]:
        """All of them, each behind what it points at."""
        manifest = of_bytes(IMAGE_MANIFEST, self.manifest)
        if self.index is None:
            return ((manifest, self.manifest),)
        return (manifest, self.manifest), (of_bytes(IMAGE_INDEX, self.index), self.index)


@dataclass(frozen=True, slots=True)
class PackedLayer:
    """A layer of an image; `diff_id` is the digest of its tar before that was compressed."""

    descriptor: Descriptor
    diff_id: Digest


def manifest_of(
    config: Descriptor, layers: Sequence[Descriptor], annotations: Mapping[str, str] | None
) -> dict[str, object]:
    """An image manifest, in the order of the specification."""
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST,
        "config": config.to_json(),
        "layers": [layer.to_json() for layer in layers],
    }
    if annotations:
        document["annotations"] = by_key(annotations)
    return document


def of_bytes(media_type: str, content: bytes) -> Descriptor:
    return Descriptor(media_type, Digest.of(content), len(content))


def by_key(annotations: Mapping[str, str]) -> dict[str, str]:
    """In one order, so that the same input gives the same bytes."""
    return dict(sorted(annotations.items()))


def without_nulls(members: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in members.items() if value is not None}


def check_time(text: str) -> str:
    """A config's time, ``2024-01-02T03:04:05Z``.  Raises InputError for another form."""
    if _TIME.fullmatch(text) is None:
        raise InputError("not a time, want 2024-01-02T03:04:05Z", text)
    return text


def compact(document: Mapping[str, object], *, sort_keys: bool = False) -> str:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False, sort_keys=sort_keys)


def to_json(document: Mapping[str, object], *, sort_keys: bool = False) -> bytes:
    """Compact, in UTF-8.  Raises ArtifactInvalid for text that has no UTF-8."""
    text = compact(document, sort_keys=sort_keys)
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ArtifactInvalid(
            f"not Unicode text: {text[max(0, error.start - 20) : error.end]!r}"
        ) from None
