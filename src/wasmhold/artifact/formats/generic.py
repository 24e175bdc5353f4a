"""What tools make by hand: one layer of a Wasm type, and anything as its config."""

from __future__ import annotations

from ..kind import Confidence, Format, Kind, View
from ..media_types import is_wasm


def detect(view: View) -> Kind | None:
    found = tuple(i for i, layer in enumerate(view.layers) if is_wasm(layer))
    if len(found) == 1:
        return Kind(Format.GENERIC, confidence=Confidence.LIKELY, wasm_layers=found)
    return None
