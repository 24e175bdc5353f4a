"""The CNCF Wasm OCI Artifact.

Source: CNCF TAG Runtime, "Wasm OCI Artifact"; where it is silent, the crate `oci-wasm`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

from ...oci.descriptor import Descriptor
from ...oci.digest import Digest
from ...wasm import Binary, BinaryKind
from ..build import Artifact, check_time, manifest_of, of_bytes, to_json, without_nulls
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
    check_time(created)
    layer = Descriptor(
        WASM, digest, binary.size, annotations={} if title is None else {TITLE: title}
    )
    content = _config(binary, layer, created, author, target, style)
    config = of_bytes(CNCF_CONFIG, content)
    document = manifest_of(config, [layer], annotations)
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
        members["component"] = without_nulls(component)
    return to_json(without_nulls(members))
