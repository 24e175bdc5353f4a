"""The vocabulary: what OCI content is.  Imports nothing of ours; holds no IO.

The names below are public, and imported when they are asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .descriptor import Descriptor
    from .digest import Digest
    from .manifest import Index, Manifest

_PLACES: Final = {
    "Descriptor": "descriptor",
    "Digest": "digest",
    "Index": "manifest",
    "Manifest": "manifest",
}

__all__ = ["Descriptor", "Digest", "Index", "Manifest"]


def __getattr__(name: str) -> object:
    module = _PLACES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{module}", __name__), name)
