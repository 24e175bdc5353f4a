"""wasmhold: the OCI registry and toolkit for WebAssembly."""

from typing import Final

__version__: Final = "0.1.0"
