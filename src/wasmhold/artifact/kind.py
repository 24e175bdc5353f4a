"""What an artifact is, as far as its manifest tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from ..oci.manifest import Manifest
from ..oci.media_types import without_parameters


class Format(Enum):
    """How WebAssembly is put into OCI content; the first three values are none of it."""

    NOT_WASM = "not-wasm"
    SIGNATURE = "signature"  # attestations and SBOMs too
    PROVIDER_ARCHIVE = "provider-archive"
    INDEX = "index"
    SPIN = "spin"
    WASMCLOUD_ACTOR = "wasmcloud-actor"
    SOLO = "solo"
    HIGRESS = "higress"
    CNCF = "cncf"
    WASM_TO_OCI = "wasm-to-oci"
    RUNWASI = "runwasi"
    GENERIC = "generic"
    COMPAT = "compat"
    IMAGE = "image"


class Variant(Enum):
    """A kind within a format."""

    ZLAYER = "zlayer"
    KUBEWARDEN = "kubewarden"
    PLAIN = "plain"  # of the wasm-to-oci family, in the form that wasm-to-oci writes
    MIXED = "mixed"  # the config of one format with the layer of the other
    MALFORMED = "malformed"  # a config of WebAssembly without its layer
    OLD = "old"  # a Spin application whose config is the locked application


class Confidence(Enum):
    """CERTAIN by a format's own marks, LIKELY by a layer's type alone, else what must be asked."""

    CERTAIN = "certain"
    LIKELY = "likely"
    NEEDS_PLATFORM = "needs-platform"  # of the index's entry, or the config
    NEEDS_CONTENT = "needs-content"  # of the last layer


@dataclass(frozen=True, slots=True)
class Kind:
    """`wasm_layers` are indexes into the manifest's layers; a tar with a Wasm file is none.

    A kind says nothing about bytes: these are asked with `wasmhold.wasm`.
    """

    format: Format
    variant: Variant | None = None
    confidence: Confidence = Confidence.CERTAIN
    wasm_layers: tuple[int, ...] = ()

    def __str__(self) -> str:
        variant = f" ({self.variant.value})" if self.variant is not None else ""
        return f"{self.format.value}{variant}"


@dataclass(frozen=True, slots=True)
class View:
    """A manifest as detection sees it: media types in lower case, without parameters.

    `platforms` are those that are known, each ``(os, architecture)``; `config` and
    `artifact_type` are empty where there is none.
    """

    config: str
    layers: tuple[str, ...]
    artifact_type: str
    manifest: Manifest
    platforms: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(
        cls,
        manifest: Manifest,
        platform: Mapping[str, object] | None = None,
        config: Mapping[str, object] | None = None,
    ) -> View:
        known = [p for p in (platform, config) if p is not None]
        return cls(
            without_parameters(manifest.config.media_type) if manifest.config else "",
            tuple(without_parameters(layer.media_type) for layer in manifest.layers),
            without_parameters(manifest.artifact_type or ""),
            manifest,
            tuple((_lower(p.get("os")), _lower(p.get("architecture"))) for p in known),
        )

    def layers_of(self, *media_types: str) -> tuple[int, ...]:
        """Indexes of the layers of these types."""
        return tuple(i for i, layer in enumerate(self.layers) if layer in media_types)


def _lower(value: object) -> str:
    return value.lower() if isinstance(value, str) else ""
