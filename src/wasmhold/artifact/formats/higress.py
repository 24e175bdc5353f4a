"""Plugins of Higress: documents in layers of their own, the program in the tar that comes last.

Read, never written.  Source: Higress, `hgctl plugin`.
"""

from __future__ import annotations

import re
from typing import Final

from ..kind import Format, Kind, View

_DOCUMENT: Final = re.compile(
    r"application/vnd\.module\.wasm\."
    r"(?:spec\.v1\+yaml|doc\.v1(?:\.[a-z0-9-]+)?\+markdown|icon\.v1\+png)"
)


def detect(view: View) -> Kind | None:
    if any(_DOCUMENT.fullmatch(layer) for layer in view.layers):
        return Kind(Format.HIGRESS)
    return None
