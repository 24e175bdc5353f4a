"""Solo's format for Envoy filters: a pair of layers, one of them the configuration.

Source: solo-io/wasm, "spec-compat"; the second spelling stands in its specification alone.
"""

from __future__ import annotations

from typing import Final

from ..kind import Format, Kind, View
from ..media_types import MODULE_WASM

_CONFIG_LAYERS: Final = (
    "application/vnd.module.wasm.config.v1+json",
    "application/vnd.io.wasm.module.config.v1+json",
)


def detect(view: View) -> Kind | None:
    modules = view.layers_of(MODULE_WASM)
    if modules and view.layers_of(*_CONFIG_LAYERS):
        return Kind(Format.SOLO, wasm_layers=modules)
    return None
