"""WebAssembly as OCI content: the formats, how to tell them apart, how to build and read them.

Pure: bytes of manifests and configs go in and out; layers are descriptors, and are never read here.
"""

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
    "WasmArtifactInfo",
    "WasmBinaryInfo",
    "WasmConfig",
    "binary_info",
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
