"""What a puller pushes: blobs, manifests, indexes and artifacts, verified before they are sent.

Functions over a puller, which has each of them as a method.  What an artifact consists of is copied
from here by the engine of all copies: blobs side by side, then manifests, the tag last; what is
there is not sent again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from ..artifact import Artifact, WasmArtifact
from ..artifact.build import EMPTY_CONFIG, by_key, to_json
from ..artifact.media_types import TITLE
from ..client.copy import Copier
from ..client.credentials import Auth
from ..client.failure import CopyFailed
from ..client.place import OtherDigest, PlaceInvalid
from ..client.places.remote import RemoteRepository
from ..client.plan import Options
from ..client.push import EMPTY
from ..client.reader import Reader
from ..oci.children import is_manifest
from ..oci.descriptor import Descriptor
from ..oci.digest import DEFAULT_ALGORITHM, HEX_LENGTH, Digest
from ..oci.errors import (
    ArtifactInvalid,
    BlobUnknown,
    Cancelled,
    DigestMismatch,
    InputError,
    WasmholdError,
)
from ..oci.manifest import Manifest, parse_manifest
from ..oci.media_types import IMAGE_MANIFEST, is_media_type_of_content
from ..oci.reference import parse_name
from ..ports.store import StoredManifest
from .call import Call
from .events import BlobSkipped, OnEvent
from .manifests import PulledManifest
from .material import AnyContent, Material
from .moving import Moving
from .policy import Source
from .push_errors import BlobUploadFailed, push_errors

if TYPE_CHECKING:
    from .puller import Puller

AnyManifest: TypeAlias = Manifest | Mapping[str, object] | bytes
Foreign: TypeAlias = Literal["skip", "push"]
IS_THERE: Final = "the registry has it"
IS_FOREIGN: Final = "it is to be had elsewhere"


@dataclass(frozen=True, slots=True)
class ArtifactLayer:
    """One layer of `push_artifact`.

    title        its annotation ``org.opencontainers.image.title``
    annotations  further ones
    urls         where else it is to be had: then it is not sent, unless foreign layers are
    """

    source: AnyContent
    media_type: str
    title: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    urls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PushResult:
    """Digests are text.  `reference` is the resolved one.

    blobs_pushed   were sent
    blobs_skipped  the registry had them already
    blobs_mounted  it took them from another of its repositories
    """

    reference: str
    manifest_digest: str
    blobs_pushed: tuple[str, ...] = ()
    blobs_skipped: tuple[str, ...] = ()
    blobs_mounted: tuple[str, ...] = ()


def begin(puller: Puller, reference: str, auth: Auth | None, on_event: OnEvent | None) -> Call:
    """Raises PushReferenceInvalid, also where no registry is named."""
    with push_errors(reference):
        call = puller.call(reference, auth, None, on_event)
        if not call.has_origin:
            raise PlaceInvalid("no registry given, want HOST/NAME[:TAG]", reference)
        return call


async def push_blob(
    puller: Puller,
    call: Call,
    source: AnyContent,
    digest: Digest | str | None,
    mount_from: str | None,
) -> Descriptor:
    """The descriptor of the bytes, which are in the repository now."""
    wanted = Digest.parse(digest) if isinstance(digest, str) else digest
    with Material(puller.runtime) as material:
        blob = await material.add(source, wanted.algorithm if wanted else DEFAULT_ALGORITHM)
        if wanted not in (None, blob.digest):
            raise DigestMismatch(str(wanted), str(blob.digest))
        sending = _Sending(puller, call, material, mount_from)
        with push_errors(call.image.registry, blob.digest):
            size = await sending.destination.blob_size(blob.digest)
        if size == blob.size:
            await call.tell(BlobSkipped(blob.digest, IS_THERE))
        else:
            await sending.send([blob])
    return blob


async def push_manifest(
    puller: Puller, call: Call, manifest: AnyManifest, media_type: str | None
) -> str:
    """The digest of the bytes that were sent, which the registry has compared."""
    stored = _stored(manifest, _algorithm(call), media_type)
    _check_digest(call, stored)
    destination = _repository(call, call.image.name, to_write=True)
    with push_errors(call.image.registry):
        await destination.manifest_put(stored, _tags(call))
        await destination.flush()
    return str(stored.digest)


async def push_index(
    puller: Puller,
    call: Call,
    index: AnyManifest,
    children: Iterable[AnyManifest | Artifact],
    blobs: Iterable[AnyContent],
    mount_from: str | None,
    foreign: Foreign,
) -> str:
    """The digest of the index, which is put when all that it leads to is there."""
    root = _stored(index, _algorithm(call))
    with Material(puller.runtime) as material:
        for child in children:
            # By each algorithm: which one the index has for it need not be known.
            for algorithm in HEX_LENGTH:
                await _add(material, child, algorithm)
        for blob in blobs:
            await material.add(blob)
        found = await _push(puller, call, material, root, mount_from, foreign)
    return found.manifest_digest


async def push_artifact(
    puller: Puller,
    call: Call,
    *,
    artifact_type: str | None,
    layers: Sequence[ArtifactLayer | Descriptor],
    config: AnyContent | None,
    config_media_type: str | None,
    annotations: Mapping[str, str] | None,
    subject: Descriptor | PulledManifest | None,
    mount_from: str | None,
    foreign: Foreign,
) -> PushResult:
    """An artifact of any kind.  Source: image-spec, "Guidelines for Artifact Usage"."""
    if config is not None and config_media_type is None:
        raise ArtifactInvalid("a config has a media type: say config_media_type")
    if artifact_type is None and config_media_type in (None, EMPTY):
        raise ArtifactInvalid("what it is, is said by artifact_type or config_media_type")
    for one in (artifact_type, config_media_type):
        if one is not None and not is_media_type_of_content(one):
            raise InputError("not a media type, want type/subtype", one)
    algorithm = _algorithm(call)
    with Material(puller.runtime) as material:
        of_config = await material.add(EMPTY_CONFIG if config is None else config, algorithm)
        listed = [await _layer(material, layer, algorithm, foreign) for layer in layers]
        if not listed:
            # Readers that are older than artifacts want one layer at least.
            listed = [replace(await material.add(EMPTY_CONFIG, algorithm), media_type=EMPTY)]
        manifest = Manifest(
            IMAGE_MANIFEST,
            config=replace(of_config, media_type=config_media_type or EMPTY),
            layers=tuple(listed),
            subject=subject.here if isinstance(subject, PulledManifest) else subject,
            artifact_type=artifact_type,
            annotations=by_key(annotations or {}),
        )
        root = _stored(manifest, algorithm)
        return await _push(puller, call, material, root, mount_from, foreign)


async def push_wasm(
    puller: Puller, call: Call, artifact: WasmArtifact, mount_from: str | None
) -> PushResult:
    """An artifact that was built, byte for byte."""
    with Material(puller.runtime) as material:
        await material.add(artifact.wasm_binary)
        root = await _add(material, artifact.artifact, _algorithm(call))
        return await _push(puller, call, material, root, mount_from, "skip")


async def _layer(
    material: Material, layer: ArtifactLayer | Descriptor, algorithm: str, foreign: Foreign
) -> Descriptor:
    if isinstance(layer, Descriptor):
        return layer
    found = await material.add(layer.source, algorithm)
    if layer.urls and foreign == "skip":
        material.forget(found.digest)
    title = {} if layer.title is None else {TITLE: layer.title}
    return replace(
        found,
        media_type=layer.media_type,
        annotations=by_key({**layer.annotations, **title}),
        urls=layer.urls,
    )


async def _add(material: Material, what: AnyManifest | Artifact, algorithm: str) -> StoredManifest:
    """Give a manifest to `material`, of an artifact all that is in it; the last manifest."""
    if not isinstance(what, Artifact):
        stored = _stored(what, algorithm)
        material.add_manifest(stored)
        return stored
    for content in (what.config, *what.contents):
        await material.add(content)
    for _, manifest in what.manifests:
        stored = _stored(manifest, algorithm)
        material.add_manifest(stored)
    return stored


def _stored(manifest: AnyManifest, algorithm: str, media_type: str | None = None) -> StoredManifest:
    """The bytes of a manifest; those that were given as bytes stay.  Raises ManifestInvalid."""
    if isinstance(manifest, PulledManifest):
        content, media_type = manifest.raw, media_type or manifest.media_type
    elif isinstance(manifest, bytes):
        content = manifest
    else:
        content = to_json(manifest.to_json() if isinstance(manifest, Manifest) else manifest)
    said = parse_manifest(content, media_type)
    return StoredManifest(Digest.of(content, algorithm), said.media_type, content)


def _algorithm(call: Call) -> str:
    return call.image.digest.algorithm if call.image.digest else DEFAULT_ALGORITHM


def _check_digest(call: Call, stored: StoredManifest) -> None:
    """Raises OtherDigest before anything is sent."""
    wanted = call.image.digest
    if wanted not in (None, stored.digest):
        raise OtherDigest(str(wanted), str(stored.digest))


def _tags(call: Call) -> tuple[str, ...]:
    return (call.image.tag,) if call.image.tag else ()


def _repository(call: Call, name: str, *, to_write: bool = False) -> RemoteRepository:
    found = call.connections.repository(call.image.registry, name, call.auth, to_write=to_write)
    return found.heard_by(call.retry)


class _Sending:
    """Brings blobs of `material` into one repository, and notes which way they came there.

    `mount_from`: a repository of the same registry that may have them already.
    """

    def __init__(
        self, puller: Puller, call: Call, material: Material, mount_from: str | None
    ) -> None:
        self.material, self.runtime = material, puller.runtime
        self.limit = puller.configuration.concurrency
        self.registry = call.image.registry
        self.pushed: set[Digest] = set()
        self.mounted: set[Digest] = set()
        self._failed: list[BaseException] = []
        self._call = replace(call, stopped=lambda: bool(self._failed))
        with push_errors(self.registry):
            self.destination = _repository(call, call.image.name, to_write=True)
            self._other = None
            if mount_from is not None:
                name = parse_name(mount_from.removeprefix(f"{self.registry}/"))
                self._other = _repository(call, name)

    async def send(self, blobs: Sequence[Descriptor]) -> None:
        """Side by side; the first that fails ends the others at their next chunk."""
        try:
            await self.runtime.map(self._one, blobs, self.limit)
        except Cancelled as cancelled:
            # One that was stopped may have come to its end before the one that stopped it.
            first = next((e for e in self._failed if not isinstance(e, Cancelled)), cancelled)
            raise first from None

    async def _one(self, blob: Descriptor) -> None:
        try:
            with push_errors(self.registry, blob.digest):
                if not await self._mount(blob):
                    await self._put(blob)
        except BaseException as error:
            self._failed.append(error)
            raise

    async def _mount(self, blob: Descriptor) -> bool:
        other = self._other
        if other is None or not await self.destination.blob_mount(blob.digest, other):
            return False
        self.mounted.add(blob.digest)
        await self._call.tell(BlobSkipped(blob.digest, f"mounted from {other.place}"))
        return True

    async def _put(self, blob: Descriptor) -> None:
        stopped = self._call.stopped
        reader = Reader(self.material, blob, self.runtime, lambda event: None, stopped)
        moving = Moving(self._call, reader, Source.LOCAL)
        try:
            await self.destination.blob_put(blob, moving)
        except WasmholdError as error:
            if moving.failed is not None:
                # A file that may not be read says nothing about logging in.
                raise BlobUploadFailed(blob.digest, moving.failed) from error
            raise
        await moving.done()
        self.pushed.add(blob.digest)


async def _push(
    puller: Puller,
    call: Call,
    material: Material,
    root: StoredManifest,
    mount_from: str | None,
    foreign: Foreign,
) -> PushResult:
    """Copy `root` and what it leads to; what is there is not sent again."""
    _check_digest(call, root)
    material.add_manifest(root)
    sending = _Sending(puller, call, material, mount_from)
    options = Options(foreign=foreign == "push", concurrency=sending.limit)
    copier = Copier(material, sending.destination, puller.runtime, options)
    with push_errors(sending.registry), _without_sides():
        plan = await copier.plan(root.digest, _tags(call))
        if options.foreign and plan.left_out:
            raise BlobUnknown(material.place, str(plan.left_out[0].digest))
    left_out = {blob.digest for blob in plan.left_out}
    for blob in (*plan.there, *plan.left_out):
        if not is_manifest(blob):
            why = IS_FOREIGN if blob.digest in left_out else IS_THERE
            await call.tell(BlobSkipped(blob.digest, why))
    await sending.send(plan.blobs)
    with push_errors(sending.registry), _without_sides():
        await copier.follow(replace(plan, blobs=()))
    blobs = [digest for digest in material.blobs() if digest not in left_out]
    sent = sending.pushed | sending.mounted

    def texts(digests: set[Digest]) -> tuple[str, ...]:
        return tuple(str(digest) for digest in blobs if digest in digests)

    return PushResult(
        str(call.image),
        str(root.digest),
        texts(sending.pushed),
        texts(set(blobs) - sent),
        texts(sending.mounted),
    )


@contextmanager
def _without_sides() -> Iterator[None]:
    """Inside, what a copy says of its sides is dropped: a push has one."""
    try:
        yield
    except CopyFailed as error:
        raise error.cause from error
