"""Container images, and Wasm in their company: pulled with caches, unpacked, packed, exported.

The names below are public, and imported when they are asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .archives import fetch_archive
    from .asynchronous import ImagePuller
    from .config import ImageConfig, ImageHealthcheck
    from .errors import AmbiguousReference, ImageNotFound, UnsupportedManifest
    from .inspection import ImageInspection
    from .layer import Layer, PulledImage
    from .layers.asynchronous import LayerUnpacker, pack_layer
    from .layers.kinds import Compression, is_foreign_layer, is_layer, is_windows_layer
    from .layers.options import LayerLimits
    from .layers.pack import PackedLayer
    from .layers.unpacker import Unpacked
    from .manifests import PulledManifest
    from .policy import PullPolicy, Source, SourcePolicy
    from .push_errors import PushError
    from .pushing import ArtifactLayer, PushResult
    from .reference import ImageReference, is_mutable_tag
    from .stats import Stats

_PLACES: Final = {
    "AmbiguousReference": "errors",
    "ArtifactLayer": "pushing",
    "Compression": "layers.kinds",
    "ImageConfig": "config",
    "ImageHealthcheck": "config",
    "ImageInspection": "inspection",
    "ImageNotFound": "errors",
    "ImagePuller": "asynchronous",
    "ImageReference": "reference",
    "Layer": "layer",
    "LayerLimits": "layers.options",
    "LayerUnpacker": "layers.asynchronous",
    "PackedLayer": "layers.pack",
    "PullPolicy": "policy",
    "PulledImage": "layer",
    "PulledManifest": "manifests",
    "PushError": "push_errors",
    "PushResult": "pushing",
    "Source": "policy",
    "SourcePolicy": "policy",
    "Stats": "stats",
    "Unpacked": "layers.unpacker",
    "UnsupportedManifest": "errors",
    "fetch_archive": "archives",
    "is_foreign_layer": "layers.kinds",
    "is_layer": "layers.kinds",
    "is_mutable_tag": "reference",
    "is_windows_layer": "layers.kinds",
    "pack_layer": "layers.asynchronous",
}

__all__ = [
    "AmbiguousReference",
    "ArtifactLayer",
    "Compression",
    "ImageConfig",
    "ImageHealthcheck",
    "ImageInspection",
    "ImageNotFound",
    "ImagePuller",
    "ImageReference",
    "Layer",
    "LayerLimits",
    "LayerUnpacker",
    "PackedLayer",
    "PullPolicy",
    "PulledImage",
    "PulledManifest",
    "PushError",
    "PushResult",
    "Source",
    "SourcePolicy",
    "Stats",
    "Unpacked",
    "UnsupportedManifest",
    "fetch_archive",
    "is_foreign_layer",
    "is_layer",
    "is_mutable_tag",
    "is_windows_layer",
    "pack_layer",
]


def __getattr__(name: str) -> object:
    module = _PLACES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{module}", __name__), name)
