"""Applications of Spin: several modules, their files, and the locked application.

Read, never written.  Source: Spin, `crates/oci`.
"""

from __future__ import annotations

from typing import Final

from ..kind import Format, Kind, Variant, View
from ..media_types import WASM_LAYERS

APPLICATION: Final = "application/vnd.fermyon.spin.application.v1+config"


def detect(view: View) -> Kind | None:
    modules = view.layers_of(*WASM_LAYERS)
    if APPLICATION in view.layers:
        return Kind(Format.SPIN, wasm_layers=modules)
    if view.config == APPLICATION:
        return Kind(Format.SPIN, Variant.OLD, wasm_layers=modules)
    return None
