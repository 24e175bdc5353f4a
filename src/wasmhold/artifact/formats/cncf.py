"""The CNCF Wasm OCI Artifact.

Source: CNCF TAG Runtime, "Wasm OCI Artifact"; where it is silent, the crate `oci-wasm`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Final

from ...oci.descriptor import Descriptor
from ...oci.digest import Digest
from ...oci.errors import InputError
from ...oci.media_types import IMAGE_MANIFEST
from ...wasm import Binary, BinaryKind
from ..build import Artifact, by_key, of_bytes, to_json
from ..kind import Format, Kind, Variant, View
from ..media_types import CNCF_CONFIG, TITLE, WASM, WASM_LAYERS
from .zlayer import is_zlayer

SIDE_LAYERS: Final = frozenset(
    {
        "application/vnd.wassette.policy+yaml",
        "application/x-yaml",
        "text/yaml",
        "application/vnd.plecto.signature",
        "application/vnd.plecto.sbom",
        "application/vnd.plecto.sbom.signature",
    }
)
"""What other tools put beside the one Wasm layer."""

ARCHITECTURE: Final = "wasm"
# The text knows no later value, and there is no operating system without WASI.
OS: Final = {
    BinaryKind.MODULE: "wasip1",
    BinaryKind.COMPONENT: "wasip2",
    BinaryKind.WIT_PACKAGE: "wasip2",
}
_TIME: Final = re.compile(
    r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\dZ",
    re.ASCII,
)


class Style(Enum):
    """How the JSON is written: members in the order of the OCI specification, or as wkg does it.

    wkg sorts the manifest's members and writes the config's absent ones as null.
    """

    OCI = "oci"
    WKG = "wkg"


def detect(view: View) -> Kind | None:
    if view.config != CNCF_CONFIG:
        return None
    modules = view.layers_of(*WASM_LAYERS)
    variant = None
    if not modules:
        variant = Variant.MALFORMED
    elif not view.layers_of(WASM):
        variant = Variant.MIXED
    elif is_zlayer(view.artifact_type):
        variant = Variant.ZLAYER
    return Kind(Format.CNCF, variant, wasm_layers=modules)


def build(
    binary: Binary,
    digest: Digest,
    *,
    created: str,
    author: str | None = None,
    target: str | None = None,
    title: str | None = None,
    annotations: Mapping[str, str] | None = None,
    style: Style = Style.OCI,
) -> Artifact:
    """An artifact whose one layer is `binary`, with that `digest`.

    `created` is a time like ``2024-01-02T03:04:05Z``; `target` the world it was built for, which
    only a component has.  Raises InputError for another form of time.
    """
    if _TIME.fullmatch(created) is None:
        raise InputError("not a time, want 2024-01-02T03:04:05Z", created)
    layer = Descriptor(
        WASM, digest, binary.size, annotations={} if title is None else {TITLE: title}
    )
    content = _config(binary, layer, created, author, target, style)
    config = of_bytes(CNCF_CONFIG, content)
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST,
        "config": config.to_json(),
        "layers": [layer.to_json()],
    }
    if annotations:
        document["annotations"] = by_key(annotations)
    manifest = to_json(document, sort_keys=style is Style.WKG)
    return Artifact(manifest, content, config, (layer,))


def _config(
    binary: Binary,
    layer: Descriptor,
    created: str,
    author: str | None,
    target: str | None,
    style: Style,
) -> bytes:
    component: dict[str, object] | None = None
    if binary.kind is not BinaryKind.MODULE:
        component = {
            "exports": [extern.name for extern in binary.exports],
            "imports": [extern.name for extern in binary.imports],
            "target": target,
        }
    members: dict[str, object] = {
        "created": created,
        "author": author,
        "architecture": ARCHITECTURE,
        "os": OS[binary.kind],
        "layerDigests": [str(layer.digest)],
        "component": component,
    }
    if style is Style.WKG:
        return to_json(members)
    if component is not None:
        members["component"] = _without_nulls(component)
    return to_json(_without_nulls(members))


def _without_nulls(members: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in members.items() if value is not None}
