"""wasmCloud's own formats: archives of native providers, and components before the CNCF format.

Read, never written.  Source: wasmCloud, `wash push`.
"""

from __future__ import annotations

from typing import Final

from ..kind import Format, Kind, View
from ..media_types import MODULE_WASM, TAR, WASM

PROVIDER_LAYER: Final = "application/vnd.wasmcloud.provider.archive.layer.v1+par"
_PROVIDER: Final = "application/vnd.wasmcloud.provider.archive.config"
_ACTOR: Final = "application/vnd.wasmcloud.actor.archive.config"


def detect(view: View) -> Kind | None:
    if view.config == _PROVIDER or PROVIDER_LAYER in view.layers:
        return Kind(Format.PROVIDER_ARCHIVE)
    if view.config == _ACTOR:
        # The hosts take a module under any of these types; the tar layer is none.
        return Kind(Format.WASMCLOUD_ACTOR, wasm_layers=view.layers_of(MODULE_WASM, WASM, TAR))
    return None
