"""WebAssembly from registries: its bytes, and what is known of it without them.

Functions over a puller, which has each of them as a method.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeAlias

from ..artifact import ArtifactType, WasiVersion, WasmArtifactInfo, extract_wasm_info
from ..artifact.artifact_type import is_wasm_config
from ..artifact.children import child_by_artifact_type, child_by_platform
from ..artifact.wasi import detect_wasi_version
from ..artifact.wasm_info import choose_layer, with_binary, with_config, with_start
from ..client.output import new_file, target_of
from ..client.platforms import Platform
from ..oci import limits
from ..oci.descriptor import Descriptor
from ..oci.errors import NotFound, TooLarge, WasmInvalid
from ..ports.body import read_all
from ..wasm import Preamble, Reader, WasmError
from ..wasm.preamble import SIZE
from .call import Call
from .layer import twice
from .manifests import PulledManifest

if TYPE_CHECKING:
    from .puller import Puller

AnyLayer: TypeAlias = int | str
_EMPTY: Final = 2  # bytes of ``{}``, which says nothing


async def find(puller: Puller, call: Call, platform: Platform | str | None) -> PulledManifest:
    """The manifest of an artifact; of an index the one that is WebAssembly.

    A `platform` has the last word.  Without one, in this order: the child of a Wasm platform, the
    only child whose `artifactType` is WebAssembly, the one for the puller's platform.
    """

    def choose(index: PulledManifest) -> Descriptor:
        child = None
        if platform is None:
            child = child_by_platform(index) or child_by_artifact_type(index)
        if child is None:
            wanted = puller.platform(platform)
            child = wanted.choose(index, call.image.repository, str(call.image.reference))
        return child

    return await puller.manifests.follow(call, choose)


async def detect_artifact_type(
    puller: Puller, call: Call, platform: Platform | str | None
) -> tuple[ArtifactType, PulledManifest, str]:
    """The type with its version, the manifest and its digest."""
    manifest = await find(puller, call, platform)
    info = await _ask(puller, call, manifest)
    found = ArtifactType.Container() if info is None else ArtifactType.Wasm(info.wasi_version)
    return found, manifest, str(manifest.digest)


async def get_wasm_info(
    puller: Puller, call: Call, platform: Platform | str | None
) -> WasmArtifactInfo | None:
    """What is known without the layer; None for a container."""
    return await _ask(puller, call, await find(puller, call, platform))


async def _ask(puller: Puller, call: Call, manifest: PulledManifest) -> WasmArtifactInfo | None:
    """What manifest and config say, and, where they say no version, eight bytes of the layer."""
    info = _info(manifest)
    if info is None:
        return None
    config = manifest.config
    if config is not None and _is_told(config, info):
        # What is nowhere says nothing.
        with suppress(NotFound):
            async with await puller.blobs.open(call, config) as stream:
                info = with_config(info, await read_all(stream))
    if info.wasi_version is WasiVersion.Unknown and info.layer_index is not None:
        layer = manifest.layers[info.layer_index]
        with suppress(NotFound):
            info = with_start(info, await puller.blobs.start(call, layer, SIZE))
    return info


def _is_told(config: Descriptor, info: WasmArtifactInfo) -> bool:
    """Whether a config may say something: one of another type at most the version."""
    is_asked = info.wasi_version is WasiVersion.Unknown or is_wasm_config(config.media_type)
    return is_asked and _EMPTY < config.size <= limits.MANIFEST


def _info(manifest: PulledManifest, layer: int | None = None) -> WasmArtifactInfo | None:
    info = extract_wasm_info(manifest, layer=layer)
    return None if info is None else replace(info, manifest_digest=str(manifest.digest))


async def pull_wasm(
    puller: Puller,
    call: Call,
    layer: AnyLayer | None,
    platform: Platform | str | None,
    max_size: int,
    check: bool,
) -> tuple[bytes, WasmArtifactInfo]:
    """All bytes of the layer, and what is known with them."""
    wanted, info = await _choose(puller, call, layer, platform)
    if wanted.size > max_size:
        raise TooLarge(max_size)

    async def read() -> tuple[bytes, WasmArtifactInfo]:
        chunks: list[bytes] = []
        known = await _read(puller, call, wanted, info, check, chunks.append)
        return b"".join(chunks), known

    return await twice(read)


async def pull_wasm_to(
    puller: Puller,
    call: Call,
    path: str,
    layer: AnyLayer | None,
    platform: Platform | str | None,
    check: bool,
) -> WasmArtifactInfo:
    """The same as a file, which has its name when it is verified."""
    target_of(path)  # before anything is asked for
    wanted, info = await _choose(puller, call, layer, platform)

    async def write_file() -> WasmArtifactInfo:
        async with new_file(path, 0o644, puller.runtime) as write:
            return await _read(puller, call, wanted, info, check, write)

    return await twice(write_file)


async def _choose(
    puller: Puller, call: Call, layer: AnyLayer | None, platform: Platform | str | None
) -> tuple[Descriptor, WasmArtifactInfo]:
    manifest = await find(puller, call, platform)
    at = choose_layer(manifest, str(call.image), layer)
    info = _info(manifest, at)
    assert info is not None, "a container has no layer to choose"
    return manifest.layers[at], info


async def _read(
    puller: Puller,
    call: Call,
    layer: Descriptor,
    info: WasmArtifactInfo,
    check: bool,
    write: Callable[[bytes], object],
) -> WasmArtifactInfo:
    seen = _Seen(f"{call.image}, layer {layer.digest} ({layer.media_type})", check)

    def take(chunk: bytes) -> None:
        seen.feed(chunk)
        write(chunk)

    async with await puller.blobs.open(call, layer) as stream:
        async for chunk in stream:
            await puller.runtime.offload(take, bytes(chunk))
    return seen.finish(info)


class _Seen:
    """Looks at the bytes that come by: they have to begin as WebAssembly, where that is checked."""

    def __init__(self, name: str, check: bool) -> None:
        self._name, self._is_checked = name, check
        self._start = b""
        self._reader: Reader | None = Reader()

    def feed(self, chunk: bytes) -> None:
        """Raises WasmInvalid as soon as it is known."""
        if len(self._start) < SIZE:
            self._start += chunk[: SIZE - len(self._start)]
            if len(self._start) == SIZE:
                self._check()
        if self._reader is not None:
            try:
                self._reader.feed(chunk)
            except WasmError:
                self._reader = None  # its sections tell nothing; it is not for us to judge them

    def finish(self, info: WasmArtifactInfo) -> WasmArtifactInfo:
        """What is known now.  Raises WasmInvalid for what is too short."""
        self._check()
        if self._reader is not None:
            with suppress(WasmError):
                return with_binary(info, self._reader.finish())
        return with_start(info, self._start)

    def _check(self) -> None:
        if self._is_checked and detect_wasi_version(self._start) is WasiVersion.Unknown:
            reason = f"not a WebAssembly binary: {Preamble(self._start)}"
            raise WasmInvalid(self._name, reason, 0)
