"""An ordinary image whose program is `plugin.wasm`: what Istio, Envoy Gateway and crun load.

Source: solo-io/wasm, "spec-compat".
"""

from __future__ import annotations

from collections.abc import Mapping

from ..build import Artifact, PackedLayer
from .image import PLUGIN, VARIANT, ImageConfig, build_manifest


def build(
    layer: PackedLayer, *, config: ImageConfig, annotations: Mapping[str, str] | None = None
) -> Artifact:
    """`layer` holds the program as `image.PLUGIN`.  Raises InputError for another form of time."""
    return build_manifest(layer, PLUGIN, config, {**(annotations or {}), VARIANT: "compat"})
