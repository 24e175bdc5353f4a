"""What is it: an artifact in a place, or a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ..artifact import Confidence, Format, Kind, WasmConfig, detect, how_to_read, wasm_errors
from ..artifact.media_types import CNCF_CONFIG, IMAGE_CONFIGS, WASM_COMPONENT, WASM_MODULE
from ..artifact.reading import Form
from ..artifact.wasi import imports_wasi, wasi_release
from ..oci.descriptor import Descriptor
from ..oci.document import parse_object
from ..oci.errors import ArtifactInvalid, CannotList, ManifestInvalid, NameUnknown, WasmInvalid
from ..oci.manifest import Manifest
from ..ports.repository import Repository
from ..ports.runtime import ClientRuntime
from ..wasm import Binary, BinaryKind, Reader, WasmError, read_producers, read_text
from .application import read_application
from .events import nobody
from .local import read_file
from .output import fetch, read_small
from .place import Place
from .pull import Found, Which, find_wasm, read_manifest

_KINDS: Final = {
    "application/vnd.cncf.helm.config.v1+json": "chart",
    "application/vnd.cncf.notary.signature": "signature",
    "application/vnd.dev.cosign.artifact.sig.v1+json": "signature",
    "application/vnd.dev.sigstore.bundle.v0.3+json": "signature",
    "application/vnd.in-toto+json": "attestation",
    "application/spdx+json": "sbom",
    "application/vnd.cyclonedx+json": "sbom",
    "application/vnd.wassette.policy+yaml": "policy",
    WASM_COMPONENT: "component",
    WASM_MODULE: "module",
}
_WASM: Final = {
    BinaryKind.MODULE: "module",
    BinaryKind.COMPONENT: "component",
    BinaryKind.WIT_PACKAGE: "wit-package",
}
_NO_WASM: Final = (Format.NOT_WASM, Format.SIGNATURE, Format.INDEX, Format.IMAGE)
_TEXTS: Final = ("authors", "description", "licenses", "source", "homepage", "revision", "version")
_MAX_TAGS: Final = 1000  # that are told


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found; None for what is not known without the bytes of the layer.

    kind      component, module, wit-package, image, index, chart, signature, attestation, sbom,
              policy or artifact
    format    how WebAssembly is put into it; None when it is none
    wasi      wasip1, wasip2, wasip3
    components of a Spin application
    """

    kind: str | None
    format: str | None = None
    wasi: str | None = None
    reference: str | None = None
    digest: str | None = None
    size: int | None = None
    media_type: str | None = None
    artifact_type: str | None = None
    platform: str | None = None
    annotations: Mapping[str, str] | None = None
    layers: Sequence[Descriptor] | None = None
    imports: Sequence[str] | None = None
    exports: Sequence[str] | None = None
    producers: Mapping[str, Sequence[str]] | None = None
    metadata: Mapping[str, str] | None = None
    tags: Sequence[str] | None = None
    referrers: Sequence[Descriptor] | None = None
    components: Sequence[str] | None = None

    def to_json(self) -> dict[str, object]:
        """The document of ``inspect --json``; every member is always there."""
        return {
            "kind": self.kind,
            "format": self.format,
            "wasi": self.wasi,
            "reference": self.reference,
            "digest": self.digest,
            "size": self.size,
            "mediaType": self.media_type,
            "artifactType": self.artifact_type,
            "platform": self.platform,
            "annotations": None if self.annotations is None else dict(self.annotations),
            "layers": _json(self.layers),
            "imports": _list(self.imports),
            "exports": _list(self.exports),
            "producers": None
            if self.producers is None
            else {key: list(values) for key, values in self.producers.items()},
            "metadata": None if self.metadata is None else dict(self.metadata),
            "tags": _list(self.tags),
            "referrers": _json(self.referrers),
            "components": _list(self.components),
        }


def _json(descriptors: Sequence[Descriptor] | None) -> list[object] | None:
    return None if descriptors is None else [one.to_json() for one in descriptors]


def _list(texts: Sequence[str] | None) -> list[str] | None:
    return None if texts is None else list(texts)


@dataclass(frozen=True, slots=True)
class _Inside:
    """What the bytes, or a config that was made from them, tell."""

    kind: str | None = None
    wasi: str | None = None
    imports: Sequence[str] | None = None
    exports: Sequence[str] | None = None
    producers: Mapping[str, Sequence[str]] | None = None
    metadata: Mapping[str, str] | None = None


def inspect_file(path: str) -> Inspection:
    """What a WebAssembly file is; blocks.  Raises FileInvalid; WasmInvalid."""
    read = read_file(path)
    if read.binary is None:
        assert isinstance(read.fault, WasmInvalid)
        raise read.fault
    inside = _of_binary(read.binary, path)
    return Inspection(
        inside.kind or "module",
        wasi=inside.wasi,
        reference=path,
        digest=str(read.digest),
        size=read.size,
        imports=inside.imports,
        exports=inside.exports,
        producers=inside.producers,
        metadata=inside.metadata,
    )


async def inspect_artifact(
    repository: Repository,
    place: Place,
    runtime: ClientRuntime,
    which: Which,
    *,
    download: bool = False,
    of_wasm: bool = False,
) -> Inspection:
    """What a place holds.

    An index itself, unless a platform is chosen, or with `of_wasm` what a pull would take of it.
    """
    root, manifest = await read_manifest(repository, place.required())
    found = Found(root, manifest, detect(manifest))
    if not manifest.is_index or which.platform is not None or of_wasm:
        _, found = await find_wasm(repository, place.required(), runtime, which)
    manifest, kind = found.manifest, found.kind
    inside = _Inside()
    platform = None
    if manifest.config is not None and manifest.config.media_type in (CNCF_CONFIG, *IMAGE_CONFIGS):
        inside, platform = _of_config(
            await read_small(repository, manifest.config, runtime),
            is_wasm=manifest.config.media_type == CNCF_CONFIG,
        )
    if download and (layer := _one_layer(manifest, kind)) is not None:
        reader = Reader()
        with wasm_errors(str(place)):
            await fetch(repository, layer, reader.feed, runtime, nobody)
            inside = _of_binary(reader.finish(), str(place))
    return Inspection(
        inside.kind or _kind_of(manifest, kind),
        format=kind.format.value if _is_wasm(kind) else None,
        wasi=inside.wasi,
        reference=str(place),
        digest=str(found.descriptor.digest),
        size=sum(layer.size for layer in manifest.layers) or None,
        media_type=found.descriptor.media_type,
        artifact_type=manifest.artifact_type,
        platform=platform,
        annotations=manifest.annotations,
        layers=manifest.manifests if manifest.is_index else manifest.layers,
        imports=inside.imports,
        exports=inside.exports,
        producers=inside.producers,
        metadata=inside.metadata,
        tags=await _tags(repository),
        referrers=await _referrers(repository, found.descriptor),
        components=await _components(repository, manifest, kind, runtime),
    )


async def _components(
    repository: Repository, manifest: Manifest, kind: Kind, runtime: ClientRuntime
) -> Sequence[str] | None:
    """The names of those of a Spin application; None for anything else, or what cannot be read."""
    if kind.format is not Format.SPIN:
        return None
    try:
        reading = how_to_read(manifest, kind)
        _, application = await read_application(repository, reading, runtime)
    except ArtifactInvalid:
        return None
    return application.components


def _is_wasm(kind: Kind) -> bool:
    """An image is, where its platform says so."""
    is_marked = kind.format is Format.IMAGE and kind.confidence is Confidence.CERTAIN
    return is_marked or kind.format not in _NO_WASM


def _one_layer(manifest: Manifest, kind: Kind) -> Descriptor | None:
    try:
        reading = how_to_read(manifest, kind, extra_layers=True)
    except ArtifactInvalid:
        return None
    return reading.layers[0] if reading.form is Form.BLOB else None


def _kind_of(manifest: Manifest, kind: Kind) -> str | None:
    """None where only the bytes tell a module from a component."""
    if manifest.is_index:
        return "index"
    types = (manifest.artifact_type, manifest.config.media_type if manifest.config else None)
    for name in (*types, *(layer.media_type for layer in manifest.layers)):
        if name in _KINDS:
            return _KINDS[name]
    if kind.format is Format.SIGNATURE:
        return "signature"
    if kind.format is Format.SPIN:
        return "artifact"
    if kind.format in (Format.IMAGE, Format.COMPAT, Format.RUNWASI):
        return "image"
    return "artifact" if kind.format in _NO_WASM else None


def _of_config(content: bytes, *, is_wasm: bool) -> tuple[_Inside, str | None]:
    """A config's own words; it is believed in nothing that the bytes could tell better."""
    try:
        members = parse_object(content)
        platform = "/".join(str(members[k])[:40] for k in ("os", "architecture") if members.get(k))
        config = WasmConfig.parse(content) if is_wasm else WasmConfig()
    except (ManifestInvalid, ArtifactInvalid):
        return _Inside(), None
    component = config.component
    if not is_wasm:
        return _Inside(), platform or None
    return (
        _Inside(
            kind="component" if component else "module" if config.os == "wasip1" else None,
            wasi=config.os if config.os in ("wasip1", "wasip2", "wasip3") else None,
            imports=component.imports if component else None,
            exports=component.exports if component else None,
        ),
        platform or None,
    )


def _of_binary(binary: Binary, source: str) -> _Inside:
    imports = [str(extern) for extern in binary.imports]
    producers: dict[str, list[str]] = {}
    metadata: dict[str, str] = {}
    try:
        if (section := binary.section("producers")) is not None:
            for producer in read_producers(section):
                text = f"{producer.name} {producer.version}".strip()
                producers.setdefault(producer.field, []).append(text)
        for name in _TEXTS:
            if (section := binary.section(name)) is not None:
                metadata[name] = read_text(section)
    except WasmError:
        pass  # what tools wrote for people says nothing about the code
    return _Inside(
        _WASM[binary.kind],
        _wasi(binary),
        imports,
        [extern.name for extern in binary.exports],
        producers,
        metadata,
    )


def _wasi(binary: Binary) -> str | None:
    """By the names that it imports and exports; None for what uses no WASI."""
    if binary.kind is BinaryKind.MODULE:
        return "wasip1" if imports_wasi(binary) else None
    release = wasi_release(binary) or ""
    return {"0.2": "wasip2", "0.3": "wasip3"}.get(release[:3])


async def _tags(repository: Repository) -> list[str]:
    try:
        return await repository.tags("", _MAX_TAGS)
    except NameUnknown:
        return []


async def _referrers(repository: Repository, of: Descriptor) -> list[Descriptor] | None:
    try:
        return await repository.referrers(of.digest)
    except CannotList:
        return None
