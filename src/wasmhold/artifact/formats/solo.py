"""Solo's format for Envoy filters: a pair of layers, one of them the configuration.

Source: solo-io/wasm, "spec"; the second spelling stands in its specification alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from ...oci.descriptor import Descriptor
from ...oci.digest import Digest
from ..build import EMPTY_CONFIG, Artifact, manifest_of, of_bytes, to_json
from ..kind import Format, Kind, View
from ..media_types import MODULE_WASM, TITLE

_CONFIG: Final = "application/vnd.unknown.config.v1+json"  # as wasme has it
_CONFIG_TITLE: Final = "runtime-config.json"
_CONFIG_LAYERS: Final = (
    "application/vnd.module.wasm.config.v1+json",
    "application/vnd.io.wasm.module.config.v1+json",
)


def detect(view: View) -> Kind | None:
    modules = view.layers_of(MODULE_WASM)
    if modules and view.layers_of(*_CONFIG_LAYERS):
        return Kind(Format.SOLO, wasm_layers=modules)
    return None


def build(
    digest: Digest,
    size: int,
    *,
    abi_versions: Sequence[str] = (),
    root_ids: Sequence[str] = (),
    title: str | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Artifact:
    """A filter for Envoy.

    `abi_versions` are those of Envoy's interface that it was made for, `root_ids` the names under
    which it registers its contexts.
    """
    runtime: dict[str, object] = {
        "type": "envoy_proxy",
        "abiVersions": list(abi_versions),
        "config": {"root_ids": list(root_ids)},
    }
    content = to_json(runtime)
    said = of_bytes(_CONFIG_LAYERS[0], content)
    layers = (
        Descriptor(said.media_type, said.digest, said.size, annotations={TITLE: _CONFIG_TITLE}),
        Descriptor(MODULE_WASM, digest, size, annotations={} if title is None else {TITLE: title}),
    )
    config = of_bytes(_CONFIG, EMPTY_CONFIG)
    document = manifest_of(config, layers, annotations)
    return Artifact(to_json(document), EMPTY_CONFIG, config, layers, (content,))
