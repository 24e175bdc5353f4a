"""What building an artifact gives, and how its JSON is written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ..oci.descriptor import Descriptor
from ..oci.digest import Digest
from ..oci.errors import ArtifactInvalid
from ..oci.media_types import IMAGE_MANIFEST

EMPTY_CONFIG: Final = b"{}"


@dataclass(frozen=True, slots=True)
class Artifact:
    """The bytes of manifest and config, and the layers that whoever pushes it must have.

    The bytes are the digests: nothing may write them anew.
    """

    manifest: bytes
    config: bytes
    config_descriptor: Descriptor
    layers: tuple[Descriptor, ...]

    @property
    def descriptor(self) -> Descriptor:
        """Of the manifest."""
        return Descriptor(IMAGE_MANIFEST, Digest.of(self.manifest), len(self.manifest))


def of_bytes(media_type: str, content: bytes) -> Descriptor:
    return Descriptor(media_type, Digest.of(content), len(content))


def by_key(annotations: Mapping[str, str]) -> dict[str, str]:
    """In one order, so that the same input gives the same bytes."""
    return dict(sorted(annotations.items()))


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
