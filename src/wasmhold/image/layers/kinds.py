"""Which media types are layers, and how layers are compressed.

Source: image-spec layer.md and media-types.md; docker's image manifest, schema 2.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from ...artifact.media_types import TAR, TARS
from ...client.places import compression
from ...oci.media_types import NONDISTRIBUTABLE, without_parameters


def is_layer(media_type: str) -> bool:
    """A tar of a file system, of OCI or docker, that anybody may distribute."""
    return without_parameters(media_type) in TARS


def is_foreign_layer(media_type: str) -> bool:
    """A layer that stays with its publisher: of Windows as a rule, not by necessity."""
    return without_parameters(media_type) in NONDISTRIBUTABLE


is_windows_layer = is_foreign_layer


class Compression(Enum):
    """Values are those of the options and of the media types."""

    NONE = "none"
    GZIP = compression.GZIP
    ZSTD = compression.ZSTD

    @classmethod
    def of_media_type(cls, media_type: str) -> Compression | None:
        """What the type of a layer says; None for what is no layer."""
        name = without_parameters(media_type)
        if name not in TARS | NONDISTRIBUTABLE:
            return None
        return next((one for one in (cls.GZIP, cls.ZSTD) if name.endswith(one.value)), cls.NONE)

    @classmethod
    def of_content(cls, start: bytes) -> Compression:
        """By how the bytes begin."""
        return cls(compression.of_content(start) or "none")

    @property
    def media_type(self) -> str:
        """Of a layer that is so compressed."""
        return TAR if self is Compression.NONE else f"{TAR}+{self.value}"


_SUFFIXES: Final = {
    ".tar": Compression.NONE,
    ".tar.gz": Compression.GZIP,
    ".tgz": Compression.GZIP,
    ".tar.zst": Compression.ZSTD,
    ".tzst": Compression.ZSTD,
}


def compression_of_name(path: str) -> Compression | None:
    """What the name of a file says; None for one that is no archive."""
    return next((kind for end, kind in _SUFFIXES.items() if path.endswith(end)), None)
