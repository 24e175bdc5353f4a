"""Content from any place to any other: registries, layouts, archives, stores, files.

The names below are public, and imported when they are asked for: who copies between two folders
needs neither the network nor an event loop.  `wasmhold.sync` has the same client without asyncio.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .asynchronous import Client
    from .caches.blob_cache import BlobCache
    from .caches.config import CacheConfig, CacheInvalid, CacheKind
    from .caches.format import CacheFormatError
    from .caches.images import CachedImage
    from .caches.methods import CacheChecked, CacheInfo
    from .caches.port import Cache
    from .caches.prune import PruneReport
    from .caches.shared import ObjectCache
    from .caches.shared_config import ObjectCacheConfig
    from .copy import Copied
    from .diagnosis import Finding
    from .failure import CopyFailed, TypesRefused
    from .inspection import Inspection
    from .local_registry import LocalRegistry
    from .packages import PackageUnknown, Release, Versions
    from .place import Place, PlaceInvalid
    from .plan import Plan
    from .pull import Pulled, Which
    from .push import Pushed, PushFormat, What
    from .settings import EVERY_HOST, Settings
    from .tree import Referrer

_PLACES: Final = {
    "BlobCache": "caches.blob_cache",
    "Cache": "caches.port",
    "CacheChecked": "caches.methods",
    "CacheConfig": "caches.config",
    "CacheFormatError": "caches.format",
    "CacheInfo": "caches.methods",
    "CacheInvalid": "caches.config",
    "CacheKind": "caches.config",
    "CachedImage": "caches.images",
    "Client": "asynchronous",
    "Copied": "copy",
    "CopyFailed": "failure",
    "EVERY_HOST": "settings",
    "Finding": "diagnosis",
    "Inspection": "inspection",
    "LocalRegistry": "local_registry",
    "ObjectCache": "caches.shared",
    "ObjectCacheConfig": "caches.shared_config",
    "PackageUnknown": "packages",
    "Place": "place",
    "PlaceInvalid": "place",
    "Plan": "plan",
    "PruneReport": "caches.prune",
    "Pulled": "pull",
    "PushFormat": "push",
    "Pushed": "push",
    "Referrer": "tree",
    "Release": "packages",
    "Settings": "settings",
    "TypesRefused": "failure",
    "Versions": "packages",
    "What": "push",
    "Which": "pull",
}

__all__ = [
    "EVERY_HOST",
    "BlobCache",
    "Cache",
    "CacheChecked",
    "CacheConfig",
    "CacheFormatError",
    "CacheInfo",
    "CacheInvalid",
    "CacheKind",
    "CachedImage",
    "Client",
    "Copied",
    "CopyFailed",
    "Finding",
    "Inspection",
    "LocalRegistry",
    "ObjectCache",
    "ObjectCacheConfig",
    "PackageUnknown",
    "Place",
    "PlaceInvalid",
    "Plan",
    "PruneReport",
    "Pulled",
    "PushFormat",
    "Pushed",
    "Referrer",
    "Release",
    "Settings",
    "TypesRefused",
    "Versions",
    "What",
    "Which",
]


def __getattr__(name: str) -> object:
    module = _PLACES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{module}", __name__), name)
