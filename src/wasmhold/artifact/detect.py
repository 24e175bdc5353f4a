"""Which format is it?  The most special mark wins; the order is the argument.

A mark in `artifactType` is never enough by itself, and a name that merely contains "wasm" proves
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from ..oci.manifest import Manifest
from ..wasm import Binary
from .formats import (
    cncf,
    generic,
    higress,
    image,
    runwasi,
    signature,
    solo,
    spin,
    wasm_to_oci,
    wasmcloud,
)
from .kind import Format, Kind, Variant, View
from .media_types import is_wasm

ORDER: Final = (
    signature.detect,  # before every rule about +wasm and +json
    spin.detect,  # before wasm-to-oci: its modules have the same layer type
    wasmcloud.detect,  # before Solo: its actors have the same layer type
    solo.detect,
    higress.detect,  # before images: its last layer is a tar
    cncf.detect,
    wasm_to_oci.detect,
    runwasi.detect,
    generic.detect,
    image.detect,
)


def detect(
    manifest: Manifest,
    *,
    platform: Mapping[str, object] | None = None,
    config: Mapping[str, object] | None = None,
) -> Kind:
    """The kind of an artifact by its manifest alone; never raises.

    `platform` is that of the index's entry through which the manifest was found, `config` the JSON
    of an image's config.  Both matter for images alone, where the answer's `confidence` asks for
    them.
    """
    if manifest.is_index:
        return Kind(Format.INDEX)
    view = View.of(manifest, platform, config)
    for is_it in ORDER:
        if (kind := is_it(view)) is not None:
            return kind
    wasm = tuple(i for i, layer in enumerate(view.layers) if is_wasm(layer))
    return Kind(Format.NOT_WASM, wasm_layers=wasm)


def refine(kind: Kind, binary: Binary) -> Kind:
    """What the module's own sections add: older policies of Kubewarden have no other mark."""
    if kind.format is Format.WASM_TO_OCI and binary.section(wasm_to_oci.KUBEWARDEN_SECTION):
        return replace(kind, variant=Variant.KUBEWARDEN)
    return kind
