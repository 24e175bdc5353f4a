"""A binary as an artifact that can be pushed: zlayer-registry's `export_wasm_as_oci`.

Source: zlayer, crate `zlayer-registry`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Self

from ..oci.digest import Digest
from ..oci.errors import ArtifactInvalid, InputError, WasmInvalid
from ..oci.manifest import parse_manifest
from ..wasm import Binary, BinaryKind, read_binary
from .build import Artifact, PackedLayer
from .errors import wasm_errors
from .packing import FilePacker
from .wasi import WasiVersion, version_of
from .writing import EPOCH, WasmFormat, Words, write

_NAMELESS: Final = "module.wasm"


@dataclass(frozen=True, slots=True)
class WasmArtifact:
    """An artifact, and the binary that it is of: its bytes, or the path of its file.

    `wasm_size` is that of the binary, in bytes.
    """

    artifact: Artifact
    wasm_binary: bytes | str
    wasm_size: int
    wasi_version: WasiVersion

    @property
    def manifest_json(self) -> bytes:
        """The manifest's bytes, which a push sends as they are."""
        return self.artifact.manifest

    @property
    def manifest_digest(self) -> str:
        """Of what a tag names: of an image its index, else the manifest."""
        return str(self.artifact.descriptor.digest)

    @property
    def manifest_size(self) -> int:
        return self.artifact.descriptor.size

    @property
    def config_blob(self) -> bytes:
        return self.artifact.config

    @property
    def config_digest(self) -> str:
        return str(self.artifact.config_descriptor.digest)

    @property
    def config_size(self) -> int:
        return self.artifact.config_descriptor.size

    @property
    def wasm_layer_digest(self) -> str:
        """Of the layer that is the binary, or has it in a tar."""
        return str(self.artifact.layers[-1].digest)

    @property
    def artifact_type(self) -> str | None:
        return parse_manifest(self.artifact.manifest).artifact_type


@dataclass(frozen=True, slots=True)
class WasmSource:
    """A binary that was read.

    where   its bytes, or the path of its file
    read    what it is, or why it is no WebAssembly
    pieces  gives its bytes once more; raises DigestMismatch when they are others
    """

    where: bytes | str
    digest: Digest
    size: int
    read: Binary | WasmInvalid
    pieces: Callable[[], Iterable[bytes]]

    @classmethod
    def of(cls, content: bytes) -> Self:
        """The binary `content`."""
        read: Binary | WasmInvalid
        try:
            with wasm_errors("the binary"):
                read = read_binary(content)
        except WasmInvalid as error:
            read = error
        return cls(content, Digest.of(content), len(content), read, lambda: (content,))


def build_wasm_artifact(
    source: bytes | bytearray | memoryview | WasmSource,
    *,
    name: str | None = None,
    format: str | WasmFormat = WasmFormat.CNCF,  # noqa: A002
    wasi_version: WasiVersion | str | None = None,
    annotations: Mapping[str, str] | None = None,
    created: str | None = None,
    force: bool = False,
) -> WasmArtifact:
    """An artifact of a binary; the same arguments give the same bytes.

    name          its title; where that is a file's, with ``.wasm`` behind it
    format        a `WasmFormat`, or its value; the layer of an image is made in memory
    wasi_version  what it is said to be; with `force` also what the bytes are not
    created       a time like ``2024-01-02T03:04:05Z``; without one the beginning of 1970

    `wasmhold.build_wasm_artifact` also takes the path of a file.  Raises WasmInvalid for what is no
    WebAssembly, unless it is forced; ArtifactInvalid for a version that contradicts the bytes;
    InputError for a format, version or time that is none.
    """
    if not isinstance(source, WasmSource):
        source = WasmSource.of(bytes(source))
    if isinstance(wasi_version, str):
        wasi_version = WasiVersion.parse(wasi_version)
    binary, version = _as_claimed(source, wasi_version, force)
    packed: list[bytes] = []

    def pack(file_name: str) -> PackedLayer:
        packer = FilePacker(file_name, source.size)
        packed.extend(map(packer.feed, source.pieces()))
        last, layer = packer.finish()
        packed.append(last)
        return layer

    title = None if name is None else f"{name.removesuffix('.wasm')}.wasm"
    path = source.where if isinstance(source.where, str) else title or _NAMELESS
    words = Words(title, annotations or {}, created or EPOCH)
    made = write(_format(format), binary, source.digest, path, words, pack)
    if packed:
        made = replace(made, contents=(*made.contents, b"".join(packed)))
    return WasmArtifact(made, source.where, source.size, version)


def _format(given: str | WasmFormat) -> WasmFormat:
    try:
        return WasmFormat(given)
    except ValueError:
        names = ", ".join(one.value for one in WasmFormat)
        raise InputError(f"no format for WebAssembly, want one of {names}", str(given)) from None


def _as_claimed(
    source: WasmSource, claimed: WasiVersion | None, force: bool
) -> tuple[Binary, WasiVersion]:
    """What is written of the binary, and its version."""
    claimed = claimed or WasiVersion.Unknown
    if isinstance(source.read, Binary):
        actual = version_of(source.read)
        if claimed in (WasiVersion.Unknown, actual):
            return source.read, actual
        if not force:
            raise ArtifactInvalid(f"the bytes are of {actual}, not of {claimed}; it can be forced")
    elif not force:
        raise source.read
    kind = BinaryKind.COMPONENT if claimed.is_preview2() else BinaryKind.MODULE
    return Binary(kind, source.size), claimed
