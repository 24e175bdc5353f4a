"""Images from registries, by way of caches: every method once, as a coroutine over the ports.

`wasmhold.image.ImagePuller` runs it under asyncio, `wasmhold.sync.ImagePuller` without a loop.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from ..artifact import Artifact, ArtifactType, WasmArtifact, WasmArtifactInfo
from ..client.credentials import Auth
from ..client.output import new_file, target_of
from ..client.platforms import Platform
from ..oci.descriptor import Descriptor
from ..oci.digest import Digest
from ..oci.errors import NotFound
from . import inspection, pushing, wasm
from .call import Call
from .config import ImageConfig
from .events import OnEvent
from .layer import MAX_IN_MEMORY, Layer, PulledImage, twice, whole
from .manifests import PulledManifest, not_found
from .material import AnyContent
from .moving import Stream
from .parts import Again, Parts
from .policy import PullPolicy

AnyBlob: TypeAlias = Descriptor | Digest | str


class Puller(Parts):
    """Pulls images, and pushes them."""

    # ---- manifests

    async def fetch_manifest(
        self,
        image: str,
        auth: Auth | None = None,
        *,
        policy: PullPolicy | str | None = None,
        platform: Platform | str | None = None,
        on_event: OnEvent | None = None,
    ) -> PulledManifest:
        """The manifest of an image; of an index the one for the platform.

        Raises NotFound, AuthFailed; NoMatchingPlatform; UnsupportedManifest, ManifestInvalid,
        DigestMismatch; Unreachable, RemoteError.
        """
        async with self.call(image, auth, policy, on_event) as call:
            return await self.manifests.chosen(call, self.platform(platform))

    async def fetch_root(
        self,
        image: str,
        auth: Auth | None = None,
        *,
        policy: PullPolicy | str | None = None,
        on_event: OnEvent | None = None,
    ) -> PulledManifest:
        """What the reference itself names: an index stays one.  Raises as `fetch_manifest`."""
        async with self.call(image, auth, policy, on_event) as call:
            return await self.manifests.root(call)

    async def fetch_child(
        self,
        image: str,
        index: PulledManifest,
        child: Descriptor,
        auth: Auth | None = None,
        *,
        policy: PullPolicy | str | None = None,
        on_event: OnEvent | None = None,
    ) -> PulledManifest:
        """One manifest of an index that `fetch_root` gave.  Raises as `fetch_manifest`."""
        async with self.call(image, auth, policy, on_event) as call:
            return await self.manifests.child(call, index, child)

    async def pull_manifest(
        self,
        image: str,
        auth: Auth | None = None,
        *,
        policy: PullPolicy | str | None = None,
        platform: Platform | str | None = None,
        on_event: OnEvent | None = None,
    ) -> tuple[PulledManifest, str]:
        """The same with its digest.  Raises as `fetch_manifest`."""
        found = await self.fetch_manifest(
            image, auth, policy=policy, platform=platform, on_event=on_event
        )
        return found, str(found.digest)

    async def resolve(
        self, image: str, auth: Auth | None = None, *, on_event: OnEvent | None = None
    ) -> Descriptor | None:
        """What the registry says that a reference leads to; None where it says: to nothing.

        Raises NotFound for a bare name without a default registry; AuthFailed; Unreachable,
        RemoteError.
        """
        async with self.call(image, auth, None, on_event) as call:
            if not call.has_origin:
                raise not_found(call)
            return await self.manifests.remotes(call).resolve(call.image.reference)

    async def lookup(
        self,
        image: str,
        *,
        platform: Platform | str | None = None,
        on_event: OnEvent | None = None,
    ) -> PulledManifest | None:
        """The manifest that is here, whatever its registry may have by now; no network is used.

        Raises NoMatchingPlatform; AmbiguousReference.
        """
        try:
            return await self.fetch_manifest(
                image, policy=PullPolicy.NEVER, platform=platform, on_event=on_event
            )
        except NotFound:
            return None

    # ---- images

    async def pull(
        self,
        image: str,
        auth: Auth | None = None,
        *,
        policy: PullPolicy | str | None = None,
        platform: Platform | str | None = None,
        on_event: OnEvent | None = None,
    ) -> PulledImage:
        """Manifest and layers of an image, verified and in the cache, as far as it has room.

        Raises as `fetch_manifest`; BlobUnknown, SizeInvalid.
        """
        async with self.call(image, auth, policy, on_event) as call:
            manifest = await self.manifests.chosen(call, self.platform(platform))
            blobs = {blob.digest: blob for blob in manifest.children}
            limit = self.configuration.concurrency
            sources = await self.blobs.fetch(call, [*blobs.values()], limit)
            where = dict(zip(blobs, sources, strict=True))
            again = Again(self, call)
            layers = [Layer(layer, where[layer.digest], again) for layer in manifest.layers]
            return PulledImage(manifest, layers)

    async def pull_image(
        self,
        image: str,
        auth: Auth | None = None,
        *,
        policy: PullPolicy | str | None = None,
        platform: Platform | str | None = None,
        on_event: OnEvent | None = None,
    ) -> list[Layer]:
        """The layers alone.  Raises as `pull`."""
        pulled = await self.pull(image, auth, policy=policy, platform=platform, on_event=on_event)
        return pulled.layers

    # ---- blobs

    async def pull_blob(
        self,
        image: str,
        blob: AnyBlob,
        auth: Auth | None = None,
        *,
        size: int | None = None,
        max_size: int = MAX_IN_MEMORY,
        policy: PullPolicy | str | None = None,
        on_event: OnEvent | None = None,
    ) -> bytes:
        """All bytes of a blob, verified.

        `blob`: a descriptor, or a digest, of which `size` may say the bytes.  Raises TooLarge
        beyond `max_size`; BlobUnknown; as `fetch_manifest`.
        """
        async with self.call(image, auth, policy, on_event) as call:
            descriptor = await self._described(call, blob, size)
            return await whole(lambda: self.blobs.open(call, descriptor), descriptor, max_size)

    async def open_blob(
        self,
        image: str,
        blob: AnyBlob,
        auth: Auth | None = None,
        *,
        size: int | None = None,
        policy: PullPolicy | str | None = None,
        on_event: OnEvent | None = None,
    ) -> Stream:
        """The bytes of a blob as a stream, which is verified by its end; whoever gets it closes it.

        Raises as `pull_blob`.
        """
        call = self.call(image, auth, policy, on_event)
        return await self.blobs.open(call, await self._described(call, blob, size))

    async def pull_blob_to(
        self,
        image: str,
        blob: AnyBlob,
        path: str | os.PathLike[str],
        auth: Auth | None = None,
        *,
        size: int | None = None,
        policy: PullPolicy | str | None = None,
        on_event: OnEvent | None = None,
    ) -> Descriptor:
        """A blob as the file `path`, which has its name when it is verified.

        Raises as `pull_blob`; ArtifactInvalid where the path can be no file; Denied, OutOfSpace,
        StoreUnavailable of the file system.
        """
        file = os.fspath(path)
        async with self.call(image, auth, policy, on_event) as call:
            target_of(file)  # before anything is asked for
            descriptor = await self._described(call, blob, size)

            async def write_file() -> None:
                async with (
                    new_file(file, 0o644, self.runtime) as write,
                    await self.blobs.open(call, descriptor) as stream,
                ):
                    async for chunk in stream:
                        await self.runtime.offload(write, chunk)

            await twice(write_file)
            return descriptor

    # ---- WebAssembly

    async def pull_wasm(
        self,
        image: str,
        auth: Auth | None = None,
        *,
        layer: wasm.AnyLayer | None = None,
        max_size: int = MAX_IN_MEMORY,
        check: bool = True,
        policy: PullPolicy | str | None = None,
        platform: Platform | str | None = None,
        on_event: OnEvent | None = None,
    ) -> tuple[bytes, WasmArtifactInfo]:
        """The bytes of the one WebAssembly layer, verified, and what is known of it.

        `layer` chooses among several: a place in the manifest's layers, a digest or a title.  Of
        an index the child for WebAssembly is taken.  `check` of False: the bytes may be anything.
        Raises NotWasm for a container, NoWasmLayer, Ambiguous; WasmInvalid for bytes that do not
        begin as WebAssembly; TooLarge beyond `max_size`; as `pull`.
        """
        async with self.call(image, auth, policy, on_event) as call:
            return await wasm.pull_wasm(self, call, layer, platform, max_size, check)

    async def pull_wasm_to(
        self,
        image: str,
        path: str | os.PathLike[str],
        auth: Auth | None = None,
        *,
        layer: wasm.AnyLayer | None = None,
        check: bool = True,
        policy: PullPolicy | str | None = None,
        platform: Platform | str | None = None,
        on_event: OnEvent | None = None,
    ) -> WasmArtifactInfo:
        """The same as the file `path`, which has its name when it is verified and checked.

        Raises as `pull_wasm`; what else `pull_blob_to` does.
        """
        async with self.call(image, auth, policy, on_event) as call:
            return await wasm.pull_wasm_to(self, call, os.fspath(path), layer, platform, check)

    async def get_wasm_info(
        self,
        image: str,
        auth: Auth | None = None,
        *,
        policy: PullPolicy | str | None = None,
        platform: Platform | str | None = None,
        on_event: OnEvent | None = None,
    ) -> WasmArtifactInfo | None:
        """What is known of a WebAssembly artifact without its layer; None for a container.

        Its config may be read, and eight bytes of the layer, which nothing verifies.  Raises as
        `fetch_manifest`.
        """
        async with self.call(image, auth, policy, on_event) as call:
            return await wasm.get_wasm_info(self, call, platform)

    async def detect_artifact_type(
        self,
        image: str,
        auth: Auth | None = None,
        *,
        policy: PullPolicy | str | None = None,
        platform: Platform | str | None = None,
        on_event: OnEvent | None = None,
    ) -> tuple[ArtifactType, PulledManifest, str]:
        """What an image is, by the same means; its manifest, and the digest of that.

        Raises as `fetch_manifest`.
        """
        async with self.call(image, auth, policy, on_event) as call:
            return await wasm.detect_artifact_type(self, call, platform)

    # ---- what an image says of itself

    async def pull_image_config(
        self,
        image: str,
        auth: Auth | None = None,
        *,
        policy: PullPolicy | str | None = None,
        platform: Platform | str | None = None,
        on_event: OnEvent | None = None,
    ) -> ImageConfig:
        """The config of an image.  Raises ConfigInvalid; TooLarge; as `fetch_manifest`."""
        async with self.call(image, auth, policy, on_event) as call:
            return await inspection.pull_image_config(self, call, platform)

    async def inspect(
        self,
        image: str,
        auth: Auth | None = None,
        *,
        local_only: bool = False,
        policy: PullPolicy | str | None = None,
        platform: Platform | str | None = None,
        on_event: OnEvent | None = None,
    ) -> inspection.ImageInspection:
        """System, labels, platforms and more, without the layers.

        `local_only`: no network is used.  Raises as `pull_image_config`.
        """
        async with self.call(
            image, auth, PullPolicy.NEVER if local_only else policy, on_event
        ) as call:
            return await inspection.inspect(self, call, platform)

    # ---- pushing

    async def push_blob(
        self,
        reference: str,
        source: AnyContent,
        auth: Auth | None = None,
        *,
        digest: Digest | str | None = None,
        mount_from: str | None = None,
        on_event: OnEvent | None = None,
    ) -> Descriptor:
        """Put bytes, a file (a path) or a stream into the repository of a reference.

        What is there is not sent.  `digest`: what they must have.  `mount_from`: a repository of
        the same registry that may have them.  Raises DigestMismatch; FileInvalid; PushError.
        """
        async with pushing.begin(self, reference, auth, on_event) as call:
            return await pushing.push_blob(self, call, source, digest, mount_from)

    async def push_manifest(
        self,
        reference: str,
        manifest: pushing.AnyManifest,
        auth: Auth | None = None,
        *,
        media_type: str | None = None,
        on_event: OnEvent | None = None,
    ) -> str:
        """Put a manifest or index under a reference; its digest.

        Bytes are sent as they are, a mapping as compact JSON.  What it refers to is there already.
        Raises ManifestInvalid; DigestMismatch when the reference has another digest; PushError.
        """
        async with pushing.begin(self, reference, auth, on_event) as call:
            return await pushing.push_manifest(self, call, manifest, media_type)

    async def push_index(
        self,
        reference: str,
        index: pushing.AnyManifest,
        auth: Auth | None = None,
        *,
        children: Iterable[pushing.AnyManifest | Artifact] = (),
        blobs: Iterable[AnyContent] = (),
        mount_from: str | None = None,
        foreign: pushing.Foreign = "skip",
        on_event: OnEvent | None = None,
    ) -> str:
        """Put `blobs`, then the manifests `children`, then the index; its digest.

        What the registry has is not sent, and need not be given.  `foreign`: ``push`` also sends
        blobs that are to be had elsewhere.  Raises as `push_manifest`; FileInvalid.
        """
        async with pushing.begin(self, reference, auth, on_event) as call:
            return await pushing.push_index(self, call, index, children, blobs, mount_from, foreign)

    async def push_wasm(
        self,
        reference: str,
        artifact: WasmArtifact,
        auth: Auth | None = None,
        *,
        mount_from: str | None = None,
        on_event: OnEvent | None = None,
    ) -> pushing.PushResult:
        """Put what `build_wasm_artifact` gave under a reference, byte for byte.

        Raises as `push_index`.
        """
        async with pushing.begin(self, reference, auth, on_event) as call:
            return await pushing.push_wasm(self, call, artifact, mount_from)

    async def push_artifact(
        self,
        reference: str,
        auth: Auth | None = None,
        *,
        artifact_type: str | None = None,
        layers: Sequence[pushing.ArtifactLayer | Descriptor] = (),
        config: AnyContent | None = None,
        config_media_type: str | None = None,
        annotations: Mapping[str, str] | None = None,
        subject: Descriptor | PulledManifest | None = None,
        mount_from: str | None = None,
        foreign: pushing.Foreign = "skip",
        on_event: OnEvent | None = None,
    ) -> pushing.PushResult:
        """Make an artifact and put it under a reference: blobs side by side, then the manifest.

        Without `config` it has the empty one.  A layer may be the descriptor of one that is there
        or elsewhere.  `subject` is what it refers to.  Raises ArtifactInvalid, InputError; as
        `push_index`.
        """
        async with pushing.begin(self, reference, auth, on_event) as call:
            return await pushing.push_artifact(
                self,
                call,
                artifact_type=artifact_type,
                layers=layers,
                config=config,
                config_media_type=config_media_type,
                annotations=annotations,
                subject=subject,
                mount_from=mount_from,
                foreign=foreign,
            )

    async def _described(self, call: Call, blob: AnyBlob, size: int | None) -> Descriptor:
        if isinstance(blob, Descriptor):
            return blob
        digest = Digest.parse(blob) if isinstance(blob, str) else blob
        return await self.blobs.describe(call, digest, size)
