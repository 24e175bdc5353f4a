"""Layers of WebAssembly in an image, for containerd's shims.

Source: runwasi, `oci-tar-builder`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

from ...oci.descriptor import Descriptor
from ...oci.digest import Digest
from ..build import Artifact, manifest_of, of_bytes, to_json
from ..kind import Format, Kind, View
from ..media_types import IMAGE_CONFIG, IMAGE_CONFIGS, WASM
from .image import ImageConfig

_LAYER: Final = "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm"
_LAYERS: Final = (
    _LAYER,
    "application/vnd.w3c.wasm.module.v1+wasm",
    "application/vnd.w3c.wasm.component.v1+wasm",
    "application/vnd.wasm.component.v1+wasm",
)


def detect(view: View) -> Kind | None:
    if view.config in IMAGE_CONFIGS and view.layers_of(*_LAYERS):
        return Kind(Format.RUNWASI, wasm_layers=view.layers_of(*_LAYERS, WASM))
    return None


def build(
    digest: Digest,
    size: int,
    *,
    entry: str,
    config: ImageConfig,
    annotations: Mapping[str, str] | None = None,
) -> Artifact:
    """An image whose one layer is the program itself, as `oci-tar-builder` writes it."""
    layer = Descriptor(_LAYER, digest, size)
    # There is no file system whose digests would make one config differ from another.
    labels = {"containerd.runwasi.layers": hashlib.sha256(digest.encoded.encode()).hexdigest()}
    content = config.to_json(entry, [], labels)
    described = of_bytes(IMAGE_CONFIG, content)
    document = manifest_of(described, [layer], annotations)
    return Artifact(to_json(document), content, described, (layer,))
