"""WebAssembly as OCI content: the formats, how to tell them apart, how to build and read them.

Pure: bytes of manifests and configs go in and out; layers are descriptors, and are never read here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from . import media_types
from .artifact_type import ArtifactType, Evidence, detect_artifact_type
from .artifact_type import detect_artifact_type as zlayer_kind
from .binary import WasmBinaryInfo, binary_info
from .build import Artifact, PackedLayer
from .children import candidates, child_by_artifact_type, child_by_kind, child_by_platform
from .detect import detect, refine
from .errors import wasm_errors
from .formats import cncf, compat, image, runwasi, solo, wasm_to_oci, zlayer
from .formats.cncf_config import Component, WasmConfig
from .formats.image import ImageConfig, entrypoint, wasm_file
from .kind import Confidence, Format, Kind, Variant
from .reading import Form, Reading, how_to_read
from .wasi import WasiVersion, detect_wasi_version
from .wasm_info import WasmArtifactInfo, extract_wasm_info

if TYPE_CHECKING:
    from .export import WasmArtifact, WasmSource, build_wasm_artifact

# What packs images is imported when it is asked for.
_LATER: Final = frozenset({"WasmArtifact", "WasmSource", "build_wasm_artifact"})

__all__ = [
    "Artifact",
    "ArtifactType",
    "Component",
    "Confidence",
    "Evidence",
    "Form",
    "Format",
    "ImageConfig",
    "Kind",
    "PackedLayer",
    "Reading",
    "Variant",
    "WasiVersion",
    "WasmArtifact",
    "WasmArtifactInfo",
    "WasmBinaryInfo",
    "WasmConfig",
    "WasmSource",
    "binary_info",
    "build_wasm_artifact",
    "candidates",
    "child_by_artifact_type",
    "child_by_kind",
    "child_by_platform",
    "cncf",
    "compat",
    "detect",
    "detect_artifact_type",
    "detect_wasi_version",
    "entrypoint",
    "extract_wasm_info",
    "how_to_read",
    "image",
    "media_types",
    "refine",
    "runwasi",
    "solo",
    "wasm_errors",
    "wasm_file",
    "wasm_to_oci",
    "zlayer",
    "zlayer_kind",
]


def __getattr__(name: str) -> object:
    if name in _LATER:
        return getattr(import_module(".export", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
