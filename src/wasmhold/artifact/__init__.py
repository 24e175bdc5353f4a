"""WebAssembly as OCI content: the formats, how to tell them apart, how to build and read them.

Pure: bytes of manifests and configs go in and out; layers are descriptors, and are never read here.
"""

from .build import Artifact, PackedLayer
from .children import candidates, child_by_kind, child_by_platform
from .detect import detect, refine
from .errors import wasm_errors
from .formats import cncf, compat, image, runwasi, solo, wasm_to_oci, zlayer
from .formats.cncf_config import Component, WasmConfig
from .formats.image import ImageConfig, entrypoint, wasm_file
from .kind import Confidence, Format, Kind, Variant
from .reading import Form, Reading, how_to_read

__all__ = [
    "Artifact",
    "Component",
    "Confidence",
    "Form",
    "Format",
    "ImageConfig",
    "Kind",
    "PackedLayer",
    "Reading",
    "Variant",
    "WasmConfig",
    "candidates",
    "child_by_kind",
    "child_by_platform",
    "cncf",
    "compat",
    "detect",
    "entrypoint",
    "how_to_read",
    "image",
    "refine",
    "runwasi",
    "solo",
    "wasm_errors",
    "wasm_file",
    "wasm_to_oci",
    "zlayer",
]
