"""What an artifact is by zlayer-registry's rule: a container, or WebAssembly of some version.

The rule goes by parts of names, so it takes artifacts of Spin, wasmCloud and others for plain
WebAssembly; which format an artifact has, `detect` says.  Source: zlayer, crate `zlayer-registry`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final

from ..oci.errors import Ambiguous
from .document import AnyManifest, Document, document_of, inner, parts, text
from .formats.image import is_wasm_platform
from .media_types import CNCF_CONFIG, OLD_CONFIG, TITLE, is_wasm
from .wasi import WasiVersion

_CONFIGS: Final = "application/vnd.wasm.config."  # how media types begin
_CONTENTS: Final = "application/vnd.wasm.content.layer."
_WIT_COMPONENT: Final = "org.bytecodealliance.wit-component.version"


class Evidence(StrEnum):
    """What told the version of WASI; while it is unknown, what told that there is WebAssembly."""

    ARTIFACT_TYPE = "artifact-type"
    CONFIG_MEDIA_TYPE = "config-media-type"
    LAYER_MEDIA_TYPE = "layer-media-type"
    LAYER_ANNOTATION = "layer-annotation"
    CONFIG_BLOB = "config-blob"
    PREAMBLE = "preamble"


class ArtifactType:
    """``ArtifactType.Container()`` or ``ArtifactType.Wasm(version)``, made for ``match``."""

    __slots__ = ()
    Container: ClassVar[type[Container]]
    Wasm: ClassVar[type[Wasm]]

    def is_wasm(self) -> bool:
        return isinstance(self, Wasm)

    def is_container(self) -> bool:
        return isinstance(self, Container)

    def wasi_version(self) -> WasiVersion | None:
        """None for a container."""
        return self.version if isinstance(self, Wasm) else None


@dataclass(frozen=True, slots=True)
class Container(ArtifactType):
    def __str__(self) -> str:
        return "container"


@dataclass(frozen=True, slots=True)
class Wasm(ArtifactType):
    version: WasiVersion = WasiVersion.Unknown

    def __str__(self) -> str:
        return f"wasm ({self.version})"


ArtifactType.Container, ArtifactType.Wasm = Container, Wasm


def detect_artifact_type(manifest: AnyManifest) -> ArtifactType:
    """What a manifest or index is, by itself alone; what is absent in it matches nothing.

    An index is what all of its entries are, attestations left out.  Raises Ambiguous when they
    differ; ManifestInvalid for text that is no JSON object.
    """
    return decide(document_of(manifest))[0]


def decide(document: Document) -> tuple[ArtifactType, Evidence | None]:
    """The type, and what told it; nothing tells of a container."""
    artifact_type = text(document, "artifactType")
    if (version := _version_of_type(artifact_type)) is not None:
        return Wasm(version), Evidence.ARTIFACT_TYPE
    if "manifests" in document:
        return _decide_index(document)
    layers = wasm_layers(document)
    config = text(inner(document, "config"), "mediaType")
    for says_so, evidence in (
        (_is_config(artifact_type), Evidence.ARTIFACT_TYPE),
        (is_wasm_config(config), Evidence.CONFIG_MEDIA_TYPE),
        (bool(layers), Evidence.LAYER_MEDIA_TYPE),
    ):
        if says_so:
            return next(filter(None, map(_decide_layer, layers.values())), (Wasm(), evidence))
    return Container(), None


def wasm_layers(document: Document) -> dict[int, Document]:
    """The layers whose media type says that they are WebAssembly, by their place in the list."""
    layers = enumerate(parts(document, "layers"))
    return {i: layer for i, layer in layers if _is_wasm_layer(text(layer, "mediaType"))}


def is_wasm_type(artifact_type: str) -> bool:
    """Whether an `artifactType` says that there is WebAssembly."""
    return _is_config(artifact_type) or _version_of_type(artifact_type) is not None


def is_wasm_config(media_type: str) -> bool:
    """Whether a config of this media type is one of WebAssembly."""
    return media_type.startswith(_CONFIGS)


def _is_wasm_layer(media_type: str) -> bool:
    return is_wasm(media_type) or media_type.startswith(_CONTENTS)


def _is_config(artifact_type: str) -> bool:
    """The type of a config, which lists of referrers give to an artifact without one of its own."""
    return artifact_type in (CNCF_CONFIG, OLD_CONFIG)


def _version_of_type(artifact_type: str) -> WasiVersion | None:
    """None: it says nothing of WebAssembly, or is the type of a config."""
    if "wasm" not in artifact_type or _is_config(artifact_type):
        return None
    return _version_in(artifact_type) or WasiVersion.Unknown


def _version_in(name: str) -> WasiVersion | None:
    if "component" in name:
        return WasiVersion.Preview2
    return WasiVersion.Preview1 if "module" in name else None


def _decide_layer(layer: Document) -> tuple[Wasm, Evidence] | None:
    if (version := _version_in(text(layer, "mediaType"))) is not None:
        return Wasm(version), Evidence.LAYER_MEDIA_TYPE
    annotations = inner(layer, "annotations")
    if "component" in text(annotations, TITLE) or _WIT_COMPONENT in annotations:
        return Wasm(WasiVersion.Preview2), Evidence.LAYER_ANNOTATION
    return None


def _decide_index(index: Document) -> tuple[ArtifactType, Evidence | None]:
    entries = {}
    for entry in parts(index, "manifests"):
        platform = inner(entry, "platform")
        pair = text(platform, "os").lower(), text(platform, "architecture").lower()
        if pair != ("unknown", "unknown"):
            entries[f"{text(entry, 'digest')} ({'/'.join(pair)})"] = _type_of_entry(entry, pair)
    types = set(entries.values())
    wasm = {of for of in types if of.is_wasm()}
    if wasm and wasm != types:
        raise Ambiguous(
            "the index has containers and WebAssembly, choose one by platform or digest",
            [f"{of}: {name}" for name, of in entries.items()],
        )
    if not wasm:
        return Container(), None
    return wasm.pop() if len(wasm) == 1 else Wasm(), None


def _type_of_entry(entry: Document, platform: tuple[str, str]) -> ArtifactType:
    artifact_type = text(entry, "artifactType")
    version = _version_of_type(artifact_type)
    if not is_wasm_type(artifact_type) and not is_wasm_platform(platform):
        return Container()
    if version is None or version is WasiVersion.Unknown:
        version = WasiVersion.of_os(platform[0])
    return Wasm(version)
