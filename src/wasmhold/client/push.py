"""Files become artifacts: a WebAssembly file in one of its formats, any others as layers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeAlias

from ..artifact import Artifact, PackedLayer, cncf
from ..artifact.build import EMPTY_CONFIG, by_key, of_bytes, to_json
from ..artifact.media_types import TARS, TITLE
from ..artifact.writing import EPOCH, WasmFormat, Words, write
from ..oci.descriptor import Descriptor
from ..oci.digest import Digest
from ..oci.errors import ArtifactInvalid, AuthFailed, InputError, WasmInvalid
from ..oci.media_types import IMAGE_MANIFEST, is_media_type
from ..ports.repository import Repository
from ..ports.runtime import ClientRuntime
from ..ports.store import StoredManifest
from ..protocol.errors import RemoteError
from ..wasm import Binary, BinaryKind
from .copy import copy, writing
from .events import Listener, nobody
from .failure import CopyFailed, TypesRefused
from .local import LocalFile, read_file
from .place import OtherDigest, Place
from .places.made import Made
from .plan import Options

EMPTY: Final = "application/vnd.oci.empty.v1+json"
OCTETS: Final = "application/octet-stream"
_UNKNOWN_TYPE: Final = "application/vnd.unknown.artifact.v1"  # as oras names what nobody named


_MIN: Final = 2  # bytes; some registries refuse smaller blobs
# Of Docker Hub, ECR and quay.io, where they do not know a type, and of the specification.
_REFUSALS: Final = frozenset({400, 403, 405, 415})

Pack: TypeAlias = Callable[[LocalFile, str], PackedLayer]
PackFile: TypeAlias = Callable[[LocalFile, str], AbstractContextManager[tuple[str, PackedLayer]]]


class PushFormat(Enum):
    """How a WebAssembly file is written: a `WasmFormat`, or FILES: as a layer like any other."""

    CNCF = "cncf"
    WASM_TO_OCI = "wasm-to-oci"
    ZLAYER = "zlayer"
    COMPAT = "compat"
    IMAGE = "image"
    SOLO = "solo"
    RUNWASI = "runwasi"
    FILES = "files"


@dataclass(frozen=True, slots=True)
class What:
    """What is made of the files.

    format        None: CNCF for one WebAssembly file, else layers
    artifact_type of layers, whose media type is `media_type`
    title         of the one layer, instead of the file's name; empty: none
    created       a time as `time_text` gives it; None: now, or ``SOURCE_DATE_EPOCH``
    author, target, style: of a CNCF config, the first of an image's too
    abi_versions, root_ids: of the format solo
    force         push also what is no WebAssembly in a format for it
    subject       what it refers to
    """

    format: PushFormat | None = None
    artifact_type: str | None = None
    media_type: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    title: str | None = None
    created: str | None = None
    author: str | None = None
    target: str | None = None
    style: cncf.Style = cncf.Style.OCI
    abi_versions: Sequence[str] = ()
    root_ids: Sequence[str] = ()
    force: bool = False
    subject: Descriptor | None = None

    @property
    def words(self) -> Words:
        """Those of a format for WebAssembly."""
        return Words(
            self.title,
            self.annotations,
            self.created or EPOCH,
            self.author,
            self.target,
            self.style,
            self.abi_versions,
            self.root_ids,
        )


@dataclass(frozen=True, slots=True)
class Pushed:
    """`place` is where it can be found; `size` is that of the layers, in bytes.

    `manifest` is what a tag names, of an image its index.  `warnings` are sentences for the user.
    """

    place: Place
    manifest: Descriptor
    layers: tuple[Descriptor, ...]
    warnings: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        return sum(layer.size for layer in self.layers)


async def push(
    files: Sequence[str],
    place: Place,
    destination: Repository,
    runtime: ClientRuntime,
    what: What,
    pack_file: PackFile,
    options: Options | None = None,
    listener: Listener = nobody,
) -> Pushed:
    """Make an artifact of `files` and push it; `pack_file` is `packing.pack_file`.

    Files are hashed before anything is asked for, and again while they are sent.  Raises
    FileInvalid, WasmInvalid, ArtifactInvalid; DigestMismatch when the place names another digest;
    CopyFailed, TypesRefused; Cancelled.
    """
    read = [await runtime.offload(read_file, path) for path in files]
    packed: dict[Digest, tuple[str, int]] = {}
    with ExitStack() as until_sent:

        def pack(file: LocalFile, name: str) -> PackedLayer:
            path, layer = until_sent.enter_context(pack_file(file, name))
            packed[layer.descriptor.digest] = (path, layer.descriptor.size)
            return layer

        artifact = await runtime.offload(build, read, what, pack)
        manifest = artifact.descriptor
        if place.digest is not None and place.digest != manifest.digest:
            raise OtherDigest(str(place.digest), str(manifest.digest))
        made = Made(runtime, ", ".join(files) or "nothing")
        made.files.update((file.digest, (file.path, file.size)) for file in read)
        made.files.update(packed)
        made.contents.update((Digest.of(one), one) for one in (artifact.config, *artifact.contents))
        for one, content in artifact.manifests:
            made.manifests[one.digest] = StoredManifest(one.digest, one.media_type, content)
        with _types_explained(artifact):
            await copy(
                made,
                manifest.digest,
                destination,
                (place.tag,) if place.tag else (),
                runtime=runtime,
                options=options,
                listener=listener,
            )
    there = place if place.tag else place.at(manifest.digest)
    return Pushed(there, manifest, artifact.layers, tuple(_doubts(read)))


@contextmanager
def _types_explained(artifact: Artifact) -> Iterator[None]:
    """Inside, a refusal that is most likely one of the artifact's types becomes TypesRefused."""
    try:
        yield
    except CopyFailed as error:
        cause = error.cause
        if (
            artifact.config_descriptor.media_type != EMPTY
            and any(layer.media_type not in TARS for layer in artifact.layers)
            and error.step == writing(artifact.descriptor.digest)
            and isinstance(cause, RemoteError | AuthFailed)
            and cause.answer_status in _REFUSALS
        ):
            raise TypesRefused(error.side, error.place, error.step, cause) from error
        raise


def _doubts(files: Sequence[LocalFile]) -> Iterator[str]:
    for file in files:
        if file.size < _MIN:
            yield f"{file.path} has fewer than {_MIN} bytes: some registries refuse such blobs"


def build(files: Sequence[LocalFile], what: What, pack: Pack) -> Artifact:
    """The artifact that `what` makes of files that were read; `pack` packs one for an image.

    Raises WasmInvalid for what is no WebAssembly; ArtifactInvalid for what does not go together;
    InputError for what is no media type or time.
    """
    # What is called so and is none is more likely broken than meant as a layer.
    is_wasm = len(files) == 1 and (files[0].binary is not None or files[0].path.endswith(".wasm"))
    as_layer = what.artifact_type or what.media_type or what.subject is not None
    chosen = what.format or (PushFormat.CNCF if is_wasm and not as_layer else PushFormat.FILES)
    if chosen is PushFormat.FILES:
        return _layers(files, what)
    if len(files) != 1:
        raise ArtifactInvalid(f"an artifact of the format {chosen.value} has one file")
    if as_layer:
        raise ArtifactInvalid(
            f"the format {chosen.value} gives the types, and takes no artifact type, media type or "
            "subject"
        )
    if (what.abi_versions or what.root_ids) and chosen is not PushFormat.SOLO:
        raise ArtifactInvalid("ABI versions and root ids are of the format solo alone")
    (file,) = files
    return write(
        WasmFormat(chosen.value),
        _binary(file, what),
        file.digest,
        file.path,
        what.words,
        lambda name: pack(file, name),
    )


def time_text(seconds: float, environ: Mapping[str, str]) -> str:
    """In whole seconds, UTC; a build that shall be the same again sets ``SOURCE_DATE_EPOCH``."""
    epoch = environ.get("SOURCE_DATE_EPOCH", "")
    if epoch.isascii() and epoch.isdecimal() and len(epoch) < 12:
        seconds = int(epoch)
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _binary(file: LocalFile, what: What) -> Binary:
    if file.binary is not None:
        return file.binary
    assert isinstance(file.fault, WasmInvalid)
    if not what.force:
        raise file.fault
    return Binary(BinaryKind.MODULE, file.size)


def _title(file: LocalFile, what: What) -> str | None:
    if what.title is None:
        return os.path.basename(file.path)
    return what.title or None


def _layers(files: Sequence[LocalFile], what: What) -> Artifact:
    """One layer for each file.  Source: image-spec, "Guidelines for Artifact Usage"."""
    if what.title is not None and len(files) != 1:
        raise ArtifactInvalid("a title is for one file")
    for given in (what.artifact_type, what.media_type):
        if given is not None and not is_media_type(given):
            raise InputError("not a media type, want type/subtype", given)
    layers = []
    for file in files:
        title = _title(file, what)
        annotations = {} if title is None else {TITLE: title}
        layers.append(
            Descriptor(what.media_type or OCTETS, file.digest, file.size, annotations=annotations)
        )
    titles = [layer.annotations.get(TITLE) for layer in layers if layer.annotations]
    if len(set(titles)) != len(titles):
        raise ArtifactInvalid("two files have one name: a pull could write only one of them")
    config = of_bytes(EMPTY, EMPTY_CONFIG)
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST,
        "artifactType": what.artifact_type or _UNKNOWN_TYPE,
        "config": config.to_json(),
        # Readers that are older than artifacts want one layer at least.
        "layers": [layer.to_json() for layer in layers or (config,)],
    }
    if what.subject is not None:
        document["subject"] = what.subject.to_json()
    if what.annotations:
        document["annotations"] = by_key(what.annotations)
    return Artifact(to_json(document), EMPTY_CONFIG, config, tuple(layers))
