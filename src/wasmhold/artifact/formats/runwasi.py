"""Layers of WebAssembly in an image, for containerd's shims.  Source: runwasi, "OCI"."""

from __future__ import annotations

from typing import Final

from ..kind import Format, Kind, View
from ..media_types import IMAGE_CONFIGS, WASM

_LAYERS: Final = (
    "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm",
    "application/vnd.w3c.wasm.module.v1+wasm",
    "application/vnd.w3c.wasm.component.v1+wasm",
    "application/vnd.wasm.component.v1+wasm",
)


def detect(view: View) -> Kind | None:
    if view.config in IMAGE_CONFIGS and view.layers_of(*_LAYERS):
        return Kind(Format.RUNWASI, wasm_layers=view.layers_of(*_LAYERS, WASM))
    return None
