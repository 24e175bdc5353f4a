"""What an artifact holds becomes files: its WebAssembly, or all layers that have a title."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from ..artifact import (
    Confidence,
    Form,
    Format,
    Kind,
    Reading,
    candidates,
    child_by_kind,
    child_by_platform,
    detect,
    entrypoint,
    how_to_read,
)
from ..artifact.children import only_child
from ..artifact.media_types import IMAGE_CONFIGS, TITLE
from ..artifact.titles import safe_title
from ..oci import limits
from ..oci.children import is_manifest
from ..oci.descriptor import Descriptor
from ..oci.digest import Digest
from ..oci.document import parse_object
from ..oci.errors import ArtifactInvalid, TooLarge
from ..oci.manifest import Manifest, parse_manifest
from ..ports.repository import Repository
from ..ports.runtime import ClientRuntime, obtained
from .application import pull_application, read_application
from .events import Listener, Side, nobody
from .failure import blamed
from .output import fetch, new_file, read_small, target_of
from .places.files import Folder, Staged
from .platforms import Platform
from .unpack import unpack_wasm

_MODE: Final = 0o644


@dataclass(frozen=True, slots=True)
class Which:
    """What of an artifact is wanted.

    platform      of an index: ``os/architecture``
    layer, title  of several Wasm layers
    extra_layers  allow the layers that other tools put beside the one of a CNCF artifact
    """

    platform: str | None = None
    layer: int | None = None
    title: str | None = None
    extra_layers: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """A manifest that is no index, and what it is."""

    descriptor: Descriptor
    manifest: Manifest
    kind: Kind


@dataclass(frozen=True, slots=True)
class Pulled:
    """`files` are the paths that were written; `manifest` is that of what was asked for."""

    manifest: Descriptor
    kind: Kind
    layers: tuple[Descriptor, ...]
    files: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of the layers."""
        return sum(layer.size for layer in self.layers)


async def read_manifest(source: Repository, reference: str | Digest) -> tuple[Descriptor, Manifest]:
    """Raises CopyFailed (source)."""
    with blamed(Side.SOURCE, source.place, f"reading {reference}"):
        stored = await source.manifest_get(reference)
        manifest = parse_manifest(stored.content, stored.media_type)
        return stored.descriptor, manifest


async def find_wasm(
    source: Repository, reference: str | Digest, runtime: ClientRuntime, which: Which
) -> tuple[Descriptor, Found]:
    """What `reference` names, and, where that is an index, the child that is the WebAssembly."""
    root, manifest = await read_manifest(source, reference)
    at, platform = root, None
    depth = 0
    while manifest.is_index:
        depth += 1
        if depth > limits.GRAPH_DEPTH:
            raise ArtifactInvalid(f"{reference} has more than {depth} indexes in indexes")
        child = _by_platform(source, reference, manifest, which.platform)
        if child is None:
            kinds = []
            for one in (d for d in candidates(manifest) if is_manifest(d)):
                _, of_child = await read_manifest(source, one.digest)
                kinds.append((one, detect(of_child, platform=one.platform)))
            child = child_by_kind(manifest, kinds)
        platform = child.platform
        at, manifest = await read_manifest(source, child.digest)
    kind = detect(manifest, platform=platform)
    if kind.confidence is Confidence.NEEDS_PLATFORM and manifest.config is not None:
        config = parse_object(await read_small(source, manifest.config, runtime))
        kind = detect(manifest, platform=platform, config=config)
    return root, Found(at, manifest, kind)


def _by_platform(
    source: Repository, reference: str | Digest, index: Manifest, platform: str | None
) -> Descriptor | None:
    """The child that the user wants, else that of a Wasm platform, if there is one."""
    if platform is None:
        return child_by_platform(index)
    wanted = Platform.parse(platform)
    found = wanted.best(index, source.place, str(reference))
    return only_child(found, f"the index has several children of {wanted}")


async def pull_wasm(
    source: Repository,
    reference: str | Digest,
    path: str,
    name: str,
    runtime: ClientRuntime,
    which: Which,
    listener: Listener = nobody,
    mode: int = _MODE,
) -> Pulled:
    """The WebAssembly of an artifact as the file `path`; `name` is how errors call the artifact.

    Nothing is there before all of it is verified.  Raises NotWasm, Ambiguous, ArtifactInvalid;
    CopyFailed; Cancelled.
    """
    target_of(path)  # before anything is asked for
    root, found, reading = await choose_wasm(source, reference, name, runtime, which)
    return await _pull_file(source, root, found, reading, path, runtime, listener, mode)


async def _pull_file(
    source: Repository,
    root: Descriptor,
    found: Found,
    reading: Reading,
    path: str,
    runtime: ClientRuntime,
    listener: Listener,
    mode: int = _MODE,
) -> Pulled:
    async with new_file(path, mode, runtime) as write:
        await give_wasm(source, found, reading, runtime, listener, write)
    return Pulled(root, found.kind, reading.layers, (path,), reading.warnings)


async def read_wasm(
    source: Repository,
    reference: str | Digest,
    name: str,
    runtime: ClientRuntime,
    which: Which,
    limit: int,
) -> bytes:
    """The same in memory.  Raises TooLarge beyond `limit` bytes; what `pull_wasm` raises."""
    _, found, reading = await choose_wasm(source, reference, name, runtime, which)
    content = bytearray()

    def write(chunk: bytes) -> None:
        if len(content) + len(chunk) > limit:
            raise TooLarge(limit)
        content.extend(chunk)

    await give_wasm(source, found, reading, runtime, nobody, write)
    return bytes(content)


async def choose_wasm(
    source: Repository, reference: str | Digest, name: str, runtime: ClientRuntime, which: Which
) -> tuple[Descriptor, Found, Reading]:
    """What `reference` names, the manifest of its WebAssembly, and the layer to read there."""
    root, found = await find_wasm(source, reference, runtime, which)
    reading = _reading(found, name, which)
    if reading.form is Form.APPLICATION:
        _, application = await read_application(source, reading, runtime)
        components = ", ".join(application.components) or "none"
        raise ArtifactInvalid(
            f"{name} is a Spin application, its components: {components}; --out-dir DIR writes all "
            "of it, --layer N one component"
        )
    return root, found, reading


def _reading(found: Found, name: str, which: Which) -> Reading:
    return how_to_read(
        found.manifest,
        found.kind,
        name=name,
        layer=which.layer,
        title=which.title,
        extra_layers=which.extra_layers,
    )


async def give_wasm(
    source: Repository,
    found: Found,
    reading: Reading,
    runtime: ClientRuntime,
    listener: Listener,
    write: Callable[[bytes], object],
) -> None:
    """The bytes of a layer, or of one file in it, where it is a tar."""
    layer = reading.layers[-1]
    if reading.form is Form.BLOB:
        await fetch(source, layer, write, runtime, listener)
        return
    config: Mapping[str, object] = {}
    of = found.manifest.config
    if of is not None and of.media_type in IMAGE_CONFIGS:
        config = parse_object(await read_small(source, of, runtime))
    with tempfile.TemporaryFile() as packed:
        await fetch(source, layer, packed.write, runtime, listener)
        await runtime.offload(unpack_wasm, packed, entrypoint(config), write)


def untitled(repository: str) -> str:
    """How a file is called that has no name of its own: after the last part of its repository."""
    return f"{repository.rpartition('/')[2] or 'module'}.wasm"


async def pull_folder(
    source: Repository,
    reference: str | Digest,
    folder: str,
    name: str,
    runtime: ClientRuntime,
    which: Which,
    listener: Listener = nobody,
    without_title: str = untitled(""),
) -> Pulled:
    """All layers that have a title, as files of these names below `folder`; none leaves it.

    Of a Spin application all that it names; where no layer has a title, the WebAssembly as
    `without_title`.  Nothing gets its name before it is verified, layers with titles not before
    all are.  Raises ArtifactInvalid where a title is no name of a file; NotWasm, Ambiguous;
    CopyFailed; Cancelled.
    """
    root, found = await _no_index(source, reference, runtime, which)
    if found.kind.format is Format.SPIN:
        reading = how_to_read(found.manifest, found.kind, name=name)
        names = await pull_application(source, reading, folder, name, runtime, listener)
        paths = tuple(os.path.join(folder, path) for path in names)
        return Pulled(root, found.kind, found.manifest.layers, paths)
    layers = {}
    for layer in found.manifest.layers:
        title = layer.annotations.get(TITLE)
        if title is not None:
            if safe_title(title) in layers:
                raise ArtifactInvalid(f"{name} has two layers with the title {title!r}")
            layers[title] = layer
    target = Folder(folder)
    if not layers:
        reading = _reading(found, name, which)
        target.make()
        target.close()
        path = os.path.join(folder, without_title)
        return await _pull_file(source, root, found, reading, path, runtime, listener)
    staged = []
    try:
        await runtime.offload(target.sweep)
        for title, layer in layers.items():
            file = await obtained(runtime, target.stage, Staged.close)
            staged.append((title, file))
            await fetch(source, layer, file.write, runtime, listener)
        for title, file in staged:
            await runtime.offload(file.place, title)
        target.sync("", *{title.rpartition("/")[0] for title in layers})
    finally:
        for _, file in staged:
            file.close()
        target.close()
    files = tuple(os.path.join(folder, title) for title in layers)
    return Pulled(root, found.kind, tuple(layers.values()), files)


async def _no_index(
    source: Repository, reference: str | Digest, runtime: ClientRuntime, which: Which
) -> tuple[Descriptor, Found]:
    root, manifest = await read_manifest(source, reference)
    at = root
    if manifest.is_index and which.platform is not None:
        child = Platform.parse(which.platform).choose(manifest, source.place, str(reference))
        at, manifest = await read_manifest(source, child.digest)
    if manifest.is_index:
        return await find_wasm(source, reference, runtime, which)
    return root, Found(at, manifest, detect(manifest))
