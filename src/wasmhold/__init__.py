"""wasmhold: the OCI registry and toolkit for WebAssembly.

The names below are those of the library that many need; each is imported when it is asked for, so
that importing this costs nothing.
"""

from importlib import import_module

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .artifact import ArtifactType as ArtifactType
    from .artifact import WasiVersion as WasiVersion
    from .artifact import WasmArtifact as WasmArtifact
    from .artifact import WasmArtifactInfo as WasmArtifactInfo
    from .artifact import WasmBinaryInfo as WasmBinaryInfo
    from .artifact import binary_info as binary_info
    from .artifact import detect_artifact_type as detect_artifact_type
    from .artifact import detect_wasi_version as detect_wasi_version
    from .artifact import extract_wasm_info as extract_wasm_info
    from .artifact import zlayer_kind as zlayer_kind
    from .client.caches.blob_cache import BlobCache as BlobCache
    from .client.caches.config import CacheConfig as CacheConfig
    from .client.caches.format import CacheFormatError as CacheFormatError
    from .client.caches.port import Cache as Cache
    from .client.caches.prune import PruneReport as PruneReport
    from .client.caches.shared import ObjectCache as ObjectCache
    from .client.caches.shared_config import ObjectCacheConfig as ObjectCacheConfig
    from .client.caches.shared_config import S3CacheConfig as S3CacheConfig
    from .client.credentials import RegistryAuth as RegistryAuth
    from .client.credentials import UserCredentials as UserCredentials
    from .client.exporting import build_wasm_artifact as build_wasm_artifact
    from .client.local_registry import LocalRegistry as LocalRegistry
    from .client.places.archive import ImportLimits as ImportLimits
    from .client.platforms import NoMatchingPlatform as NoMatchingPlatform
    from .client.platforms import Platform as Platform
    from .image.archives import fetch_archive as fetch_archive
    from .image.asynchronous import ImagePuller as ImagePuller
    from .image.config import ImageConfig as ImageConfig
    from .image.config import ImageHealthcheck as ImageHealthcheck
    from .image.config import InvalidConfig as InvalidConfig
    from .image.errors import AmbiguousArtifact as AmbiguousArtifact
    from .image.errors import AmbiguousReference as AmbiguousReference
    from .image.errors import AmbiguousWasmLayer as AmbiguousWasmLayer
    from .image.errors import AuthFailed as AuthFailed
    from .image.errors import CacheCorrupted as CacheCorrupted
    from .image.errors import CacheError as CacheError
    from .image.errors import CacheIOError as CacheIOError
    from .image.errors import DigestMismatch as DigestMismatch
    from .image.errors import ExportError as ExportError
    from .image.errors import ImageNotFound as ImageNotFound
    from .image.errors import ImportArchiveError as ImportArchiveError
    from .image.errors import InvalidDigest as InvalidDigest
    from .image.errors import InvalidReference as InvalidReference
    from .image.errors import InvalidWasm as InvalidWasm
    from .image.errors import LocalRegistryError as LocalRegistryError
    from .image.errors import NotFound as NotFound
    from .image.errors import NotWasm as NotWasm
    from .image.errors import NoWasmLayer as NoWasmLayer
    from .image.errors import PullCancelled as PullCancelled
    from .image.errors import RateLimited as RateLimited
    from .image.errors import RegistryError as RegistryError
    from .image.errors import RemoteError as RemoteError
    from .image.errors import SizeMismatch as SizeMismatch
    from .image.errors import UnsupportedManifest as UnsupportedManifest
    from .image.exchange import export_image as export_image
    from .image.exchange import import_image as import_image
    from .image.exporting import ExportInfo as ExportInfo
    from .image.importing import ImportInfo as ImportInfo
    from .image.inspection import ImageInspection as ImageInspection
    from .image.layer import Layer as Layer
    from .image.layers.asynchronous import LayerUnpacker as LayerUnpacker
    from .image.layers.asynchronous import pack_layer as pack_layer
    from .image.layers.kinds import Compression as Compression
    from .image.layers.kinds import is_foreign_layer as is_foreign_layer
    from .image.layers.kinds import is_layer as is_layer
    from .image.layers.kinds import is_windows_layer as is_windows_layer
    from .image.layers.options import LayerLimits as LayerLimits
    from .image.layers.pack import PackedLayer as PackedLayer
    from .image.manifests import PulledManifest as PulledManifest
    from .image.manifests import runtime_marker as runtime_marker
    from .image.policy import PullPolicy as PullPolicy
    from .image.policy import SourcePolicy as SourcePolicy
    from .image.push_errors import AuthenticationFailed as AuthenticationFailed
    from .image.push_errors import BlobUploadFailed as BlobUploadFailed
    from .image.push_errors import ManifestUploadFailed as ManifestUploadFailed
    from .image.push_errors import NetworkError as NetworkError
    from .image.push_errors import PushError as PushError
    from .image.pushing import ArtifactLayer as ArtifactLayer
    from .image.pushing import PushResult as PushResult
    from .image.reference import ImageReference as ImageReference
    from .image.reference import is_mutable_tag as is_mutable_tag
    from .image.stats import Stats as Stats
    from .oci.descriptor import Descriptor as Descriptor
    from .oci.digest import Digest as Digest
    from .oci.errors import ForeignLayerError as ForeignLayerError
    from .oci.errors import LimitExceeded as LimitExceeded
    from .oci.errors import MissingExtraError as MissingExtraError
    from .oci.errors import UnsafeEntry as UnsafeEntry
    from .oci.manifest import Index as Index
    from .oci.manifest import Manifest as Manifest
    from .wasm import is_wasm as is_wasm

# Each module, and the names that are imported from it.
_NAMES = {
    "artifact": (
        "ArtifactType",
        "WasiVersion",
        "WasmArtifact",
        "WasmArtifactInfo",
        "WasmBinaryInfo",
        "binary_info",
        "detect_artifact_type",
        "detect_wasi_version",
        "extract_wasm_info",
        "zlayer_kind",
    ),
    "client.caches.blob_cache": ("BlobCache",),
    "client.caches.config": ("CacheConfig",),
    "client.caches.format": ("CacheFormatError",),
    "client.caches.port": ("Cache",),
    "client.caches.prune": ("PruneReport",),
    "client.caches.shared": ("ObjectCache",),
    "client.caches.shared_config": ("ObjectCacheConfig", "S3CacheConfig"),
    "client.credentials": ("RegistryAuth", "UserCredentials"),
    "client.exporting": ("build_wasm_artifact",),
    "client.local_registry": ("LocalRegistry",),
    "client.places.archive": ("ImportLimits",),
    "client.platforms": ("NoMatchingPlatform", "Platform"),
    "image.archives": ("fetch_archive",),
    "image.asynchronous": ("ImagePuller",),
    "image.config": ("ImageConfig", "ImageHealthcheck", "InvalidConfig"),
    "image.errors": (
        "AmbiguousArtifact",
        "AmbiguousReference",
        "AmbiguousWasmLayer",
        "AuthFailed",
        "CacheCorrupted",
        "CacheError",
        "CacheIOError",
        "DigestMismatch",
        "ExportError",
        "ImageNotFound",
        "ImportArchiveError",
        "InvalidDigest",
        "InvalidReference",
        "InvalidWasm",
        "LocalRegistryError",
        "NoWasmLayer",
        "NotFound",
        "NotWasm",
        "PullCancelled",
        "RateLimited",
        "RegistryError",
        "RemoteError",
        "SizeMismatch",
        "UnsupportedManifest",
    ),
    "image.exchange": ("export_image", "import_image"),
    "image.exporting": ("ExportInfo",),
    "image.importing": ("ImportInfo",),
    "image.inspection": ("ImageInspection",),
    "image.layer": ("Layer",),
    "image.layers.asynchronous": ("LayerUnpacker", "pack_layer"),
    "image.layers.kinds": ("Compression", "is_foreign_layer", "is_layer", "is_windows_layer"),
    "image.layers.options": ("LayerLimits",),
    "image.layers.pack": ("PackedLayer",),
    "image.manifests": ("PulledManifest", "runtime_marker"),
    "image.policy": ("PullPolicy", "SourcePolicy"),
    "image.push_errors": (
        "AuthenticationFailed",
        "BlobUploadFailed",
        "ManifestUploadFailed",
        "NetworkError",
        "PushError",
    ),
    "image.pushing": ("ArtifactLayer", "PushResult"),
    "image.reference": ("ImageReference", "is_mutable_tag"),
    "image.stats": ("Stats",),
    "oci.descriptor": ("Descriptor",),
    "oci.digest": ("Digest",),
    "oci.errors": ("ForeignLayerError", "LimitExceeded", "MissingExtraError", "UnsafeEntry"),
    "oci.manifest": ("Index", "Manifest"),
    "wasm": ("is_wasm",),
}

if not TYPE_CHECKING:  # type checkers have the imports above
    __all__ = [name for names in _NAMES.values() for name in names]


def __dir__() -> list[str]:
    return sorted({*globals(), *(name for names in _NAMES.values() for name in names)})


def __getattr__(name: str) -> object:
    for module, names in _NAMES.items():
        if name in names:
            return getattr(import_module(f".{module}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
