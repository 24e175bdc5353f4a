"""The media types of more than one format; those of one alone stand in its module.

The types of wasm-to-oci are unofficial, as its authors say.
"""

from __future__ import annotations

from typing import Final

WASM: Final = "application/wasm"  # CNCF
OLD_WASM: Final = "application/vnd.wasm.content.layer.v1+wasm"  # wasm-to-oci, Spin
WASM_LAYERS: Final = frozenset({WASM, OLD_WASM})
MODULE_WASM: Final = "application/vnd.module.wasm.content.layer.v1+wasm"  # Solo, wasmCloud

WASM_COMPONENT: Final = "application/vnd.wasm.component.v1+wasm"  # zlayer's artifact types
WASM_MODULE: Final = "application/vnd.wasm.module.v1+wasm"

CNCF_CONFIG: Final = "application/vnd.wasm.config.v0+json"
OLD_CONFIG: Final = "application/vnd.wasm.config.v1+json"

IMAGE_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
IMAGE_CONFIGS: Final = frozenset({IMAGE_CONFIG, "application/vnd.docker.container.image.v1+json"})
TAR: Final = "application/vnd.oci.image.layer.v1.tar"
TAR_GZIP: Final = f"{TAR}+gzip"
TARS: Final = frozenset(
    {
        *(f"{TAR}{packed}" for packed in ("", "+gzip", "+zstd")),
        *(f"application/vnd.docker.image.rootfs.diff.tar{p}" for p in ("", ".gzip", ".zstd")),
    }
)

TITLE: Final = "org.opencontainers.image.title"


def is_wasm(media_type: str) -> bool:
    """A layer of WebAssembly by its name alone; the suffix counts where no format is known."""
    return media_type == WASM or media_type.endswith("+wasm")
