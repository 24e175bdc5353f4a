"""Container images, and Wasm in their company: pulled with caches, unpacked, packed, exported.

The names below are public, and imported when they are asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .asynchronous import ImagePuller
    from .errors import AmbiguousReference, ImageNotFound, UnsupportedManifest
    from .layer import Layer, PulledImage
    from .manifests import PulledManifest
    from .policy import PullPolicy, Source, SourcePolicy
    from .reference import ImageReference, is_mutable_tag
    from .stats import Stats

_PLACES: Final = {
    "AmbiguousReference": "errors",
    "ImageNotFound": "errors",
    "ImagePuller": "asynchronous",
    "ImageReference": "reference",
    "Layer": "layer",
    "PullPolicy": "policy",
    "PulledImage": "layer",
    "PulledManifest": "manifests",
    "Source": "policy",
    "SourcePolicy": "policy",
    "Stats": "stats",
    "UnsupportedManifest": "errors",
    "is_mutable_tag": "reference",
}

__all__ = [
    "AmbiguousReference",
    "ImageNotFound",
    "ImagePuller",
    "ImageReference",
    "Layer",
    "PullPolicy",
    "PulledImage",
    "PulledManifest",
    "Source",
    "SourcePolicy",
    "Stats",
    "UnsupportedManifest",
    "is_mutable_tag",
]


def __getattr__(name: str) -> object:
    module = _PLACES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{module}", __name__), name)
