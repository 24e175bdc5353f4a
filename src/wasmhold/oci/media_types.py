"""The media types that the field agrees on.  Source: image-spec, media-types.md."""

from __future__ import annotations

import re
from typing import Final

IMAGE_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
IMAGE_INDEX: Final = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"

MANIFESTS: Final = frozenset({IMAGE_MANIFEST, DOCKER_MANIFEST})
INDEXES: Final = frozenset({IMAGE_INDEX, DOCKER_LIST})

# Layers that a registry must not demand (image-spec, layer.md, "Non-Distributable Layers").
NONDISTRIBUTABLE: Final = frozenset(
    {
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    }
)

# RFC 6838, 4.2: the restricted names of type and subtype.
_RESTRICTED = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
_GRAMMAR = re.compile(rf"{_RESTRICTED}/{_RESTRICTED}")
# RFC 9110, 5.6.6: parameters, of which a value may be quoted.
_NAME = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_PARAMETERS = re.compile(rf'(?: ?; ?{_NAME}=(?:{_NAME}|"[ !#-\[\]-~]*"))+')


def is_media_type(text: str) -> bool:
    """``type/subtype`` without parameters."""
    return _GRAMMAR.fullmatch(text) is not None


def is_media_type_of_content(text: str) -> bool:
    """``type/subtype``, with or without parameters: those of Sigstore's older bundles have some."""
    name, semicolon, _ = text.partition(";")
    name = name.removesuffix(" ")
    parameters = text[len(name) :]
    return is_media_type(name) and (not semicolon or _PARAMETERS.fullmatch(parameters) is not None)


def without_parameters(text: str) -> str:
    """``Text/HTML; charset=utf-8`` becomes ``text/html``: media types ignore case."""
    return text.partition(";")[0].strip().lower()
