"""What is known of a WebAssembly artifact: by its manifest, then its config, then its bytes.

Each step is a pure function from what is known to what is known then; bytes are right about what
they are, and what says otherwise becomes a conflict.  Source: zlayer, crate `zlayer-registry`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from ..oci.digest import Digest
from ..oci.errors import Ambiguous, ArtifactInvalid, ManifestInvalid, NotWasm, NoWasmLayer
from ..oci.manifest import Manifest, parse_manifest
from ..wasm import Binary
from .artifact_type import Evidence, decide, wasm_layers
from .build import to_json
from .detect import detect
from .document import AnyManifest, Document, document_of, inner, parts, text
from .formats.cncf_config import WasmConfig
from .kind import Confidence, Kind
from .media_types import IMAGE_CONFIGS, TARS, TITLE
from .wasi import WasiVersion, detect_wasi_version, newest_release, version_of, wasi_release

CONTAINER_CONFIG: Final = "container-config"


@dataclass(frozen=True, slots=True)
class WasmArtifactInfo:
    """What is known; None where nothing says it.  Digests are text, `wasm_size` is in bytes.

    The layer is the first of WebAssembly, and `layer_index` its place among all layers.
    decided_by    what told the version; while it is unknown, that there is WebAssembly
    conflicts     what says otherwise: values of `Evidence`, and ``container-config`` where the
                  config and a layer are those of a container
    kind          the format by the exact rule; None of a document that is no valid manifest
    imports, exports, wasi_release   by the config, or by the bytes once they were read
    """

    wasi_version: WasiVersion
    wasm_layer_digest: str | None = None
    wasm_size: int | None = None
    module_name: str | None = None
    artifact_type: str | None = None
    manifest_digest: str | None = None
    config_media_type: str | None = None
    layer_media_type: str | None = None
    layer_index: int | None = None
    decided_by: Evidence | None = None
    conflicts: tuple[str, ...] = ()
    kind: Kind | None = None
    wasi_release: str | None = None
    imports: tuple[str, ...] | None = None
    exports: tuple[str, ...] | None = None

    @property
    def is_component(self) -> bool | None:
        """None while the version is unknown."""
        unknown = self.wasi_version is WasiVersion.Unknown
        return None if unknown else self.wasi_version.is_preview2()


def extract_wasm_info(
    manifest: AnyManifest, *, layer: int | None = None
) -> WasmArtifactInfo | None:
    """What a manifest says of its WebAssembly; None for a container.

    `layer` is a place in its list of layers, for another than the first one of WebAssembly.
    Raises Ambiguous, ManifestInvalid as `detect_artifact_type`.
    """
    document = document_of(manifest)
    found, evidence = decide(document)
    version = found.wasi_version()
    if version is None:
        return None
    layers = parts(document, "layers")
    at = layer if layer is not None else next(iter(wasm_layers(document)), None)
    chosen = {} if at is None else layers[at]
    size = chosen.get("size")
    title = text(inner(chosen, "annotations"), TITLE)
    config = text(inner(document, "config"), "mediaType")
    in_container = config in IMAGE_CONFIGS and any(text(of, "mediaType") in TARS for of in layers)
    return WasmArtifactInfo(
        version,
        wasm_layer_digest=text(chosen, "digest") or None,
        wasm_size=size if isinstance(size, int) else None,
        module_name=title or text(inner(document, "annotations"), TITLE) or None,
        artifact_type=text(document, "artifactType") or None,
        manifest_digest=_digest(manifest),
        config_media_type=config or None,
        layer_media_type=text(chosen, "mediaType") or None,
        layer_index=at,
        decided_by=evidence,
        conflicts=(CONTAINER_CONFIG,) if in_container else (),
        kind=_kind(manifest, document),
    )


def _digest(manifest: AnyManifest) -> str | None:
    """Of the bytes, where these were given: members and digests of members tell nothing of them."""
    if isinstance(manifest, str):
        manifest = manifest.encode()
    return str(Digest.of(manifest)) if isinstance(manifest, bytes) else None


def _kind(manifest: AnyManifest, document: Document) -> Kind | None:
    if isinstance(manifest, Manifest):
        return detect(manifest)
    try:
        return detect(parse_manifest(to_json(document)))
    except (ManifestInvalid, ArtifactInvalid):
        return None


def with_config(info: WasmArtifactInfo, content: bytes) -> WasmArtifactInfo:
    """What the artifact's config adds; one that cannot be read adds nothing."""
    try:
        config = WasmConfig.parse(content)
    except ArtifactInvalid:
        return info
    version = WasiVersion.of_os(config.os or "")
    if (component := config.component) is not None:
        names = (*component.imports, *component.exports)
        info = replace(
            info,
            imports=component.imports,
            exports=component.exports,
            wasi_release=newest_release(names),
        )
        version = WasiVersion.Preview2 if version is WasiVersion.Unknown else version
    return _told(info, version, Evidence.CONFIG_BLOB)


def with_start(info: WasmArtifactInfo, start: bytes) -> WasmArtifactInfo:
    """What the layer's first eight bytes add."""
    return _told(info, detect_wasi_version(start), Evidence.PREAMBLE)


def with_binary(info: WasmArtifactInfo, binary: Binary) -> WasmArtifactInfo:
    """What the whole layer adds."""
    return replace(
        _told(info, version_of(binary), Evidence.PREAMBLE),
        imports=tuple(map(str, binary.imports)),
        exports=tuple(map(str, binary.exports)),
        wasi_release=wasi_release(binary),
    )


def _told(info: WasmArtifactInfo, version: WasiVersion, by: Evidence) -> WasmArtifactInfo:
    before = info.wasi_version
    if version in (before, WasiVersion.Unknown):
        return info
    if before is WasiVersion.Unknown:
        return replace(info, wasi_version=version, decided_by=by)
    if by is not Evidence.PREAMBLE:
        return replace(info, conflicts=(*info.conflicts, by))
    # There are two versions: what was in conflict with the one before agrees with the bytes.
    conflicts = [of for of in info.conflicts if of == CONTAINER_CONFIG]
    if info.decided_by is not None:
        conflicts.append(info.decided_by)
    return replace(info, wasi_version=version, decided_by=by, conflicts=tuple(conflicts))


def choose_layer(manifest: Manifest, name: str, wanted: int | str | None = None) -> int:
    """The place of the layer that a pull gives: the one of WebAssembly.

    `wanted` chooses among several: a place, a digest or a title.  `name` is how errors call the
    artifact.  Raises NotWasm for a container, NoWasmLayer, Ambiguous.
    """
    document, kind, layers = document_of(manifest), detect(manifest), manifest.layers
    is_certain = kind.confidence is Confidence.CERTAIN and kind.wasm_layers
    found = kind.wasm_layers if is_certain else tuple(wasm_layers(document))
    is_container = decide(document)[0].is_container()
    if is_container or not found:
        config = manifest.config.media_type if manifest.config else ""
        error = NotWasm if is_container else NoWasmLayer
        raise error(name, config, [layer.media_type for layer in layers])
    names = {i: (i, str(layers[i].digest), layers[i].annotations.get(TITLE)) for i in found}
    chosen = [i for i in found if wanted is None or wanted in names[i]]
    if len(chosen) != 1:
        reason = f"{name} has {len(chosen)} Wasm layers{'' if wanted is None else f' {wanted!r}'}"
        raise Ambiguous(
            f"{reason}, want one: choose by place, digest or title",
            [f"{i}: {digest}, title {title!r}" for i, digest, title in names.values()],
        )
    return chosen[0]
