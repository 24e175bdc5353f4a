"""zlayer's form of the CNCF artifact: an empty config, and the kind in `artifactType`.

Source: zlayer, `export_wasm_as_oci`, in compact JSON with annotations in one order.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...oci.descriptor import Descriptor
from ...oci.digest import Digest
from ...oci.media_types import IMAGE_MANIFEST
from ...wasm import Binary, BinaryKind
from ..build import EMPTY_CONFIG, Artifact, by_key, of_bytes, to_json
from ..media_types import CNCF_CONFIG, TITLE, WASM, WASM_COMPONENT, WASM_MODULE


def is_zlayer(artifact_type: str) -> bool:
    """Whether a CNCF artifact with this `artifactType` is one of zlayer's."""
    return artifact_type in (WASM_COMPONENT, WASM_MODULE)


def build(
    binary: Binary, digest: Digest, *, name: str, annotations: Mapping[str, str] | None = None
) -> Artifact:
    """An artifact named `name` whose one layer is `binary`, with that `digest`."""
    artifact_type = WASM_MODULE if binary.kind is BinaryKind.MODULE else WASM_COMPONENT
    config = of_bytes(CNCF_CONFIG, EMPTY_CONFIG)
    layer = Descriptor(WASM, digest, binary.size, annotations={TITLE: f"{name}.wasm"})
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST,
        "artifactType": artifact_type,
        "config": config.to_json(),
        "layers": [layer.to_json()],
        "annotations": by_key({TITLE: name, **(annotations or {})}),
    }
    return Artifact(to_json(document), EMPTY_CONFIG, config, (layer,))
