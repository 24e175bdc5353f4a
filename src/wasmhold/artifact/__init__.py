"""WebAssembly as OCI content: the formats, how to tell them apart, how to build and read them.

Pure: bytes of manifests and configs go in and out; layers are descriptors, and are never read here.
"""

from .build import Artifact
from .children import candidates, child_by_kind, child_by_platform
from .detect import detect, refine
from .errors import wasm_errors
from .formats import cncf, wasm_to_oci, zlayer
from .formats.cncf_config import Component, WasmConfig
from .formats.image import entrypoint, wasm_file
from .kind import Confidence, Format, Kind, Variant
from .reading import Form, Reading, how_to_read

__all__ = [
    "Artifact",
    "Component",
    "Confidence",
    "Form",
    "Format",
    "Kind",
    "Reading",
    "Variant",
    "WasmConfig",
    "candidates",
    "child_by_kind",
    "child_by_platform",
    "cncf",
    "detect",
    "entrypoint",
    "how_to_read",
    "refine",
    "wasm_errors",
    "wasm_file",
    "wasm_to_oci",
    "zlayer",
]
