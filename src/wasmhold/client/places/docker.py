"""``docker-archive:FILE[:NAME[:TAG]]``: images as ``docker save`` writes them, in a tar archive.

A ``manifest.json`` says of each image its config, its layers and its names.  Docker before 25,
skopeo, crane and others put nothing else there that matters, so the manifest of such an image is
made here.  Docker since 25, containerd and we put an image layout into the same archive, and then
the manifest is the one that it has.  What is written is both.

Docker knows one image by a name, and sha256: so indexes, referrers and sha512 are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ...oci.descriptor import Descriptor
from ...oci.digest import Digest
from ...oci.errors import Ambiguous, ContentDamaged, Unsupported
from ...oci.layout import LAYOUT_FILE, LayoutIndex, Naming
from ...oci.manifest import Manifest
from ...oci.reference import familiar, split_tag
from ...ports.repository import BlobSource
from ...ports.runtime import Runtime
from ...ports.store import StoredManifest
from ..verify import checked
from .archive import ArchiveContent, ImportLimits, LayoutForm, Output
from .docker_reading import DockerReading
from .docker_saved import MANIFEST_FILE, dump_saved
from .indexed import IndexedRepository
from .tar import Members, Region


def open_docker_archive(
    path: str, name: str, runtime: Runtime, output: Output | None = None
) -> DockerRepository:
    """The images that `path` has under `name`, or all of them; it touches nothing."""
    content = ArchiveContent(path, runtime, DockerForm(), output=output)
    return DockerRepository(f"docker-archive:{path}", content, runtime, Naming(name))


def open_any_archive(path: str, runtime: Runtime, bounds: ImportLimits) -> IndexedRepository:
    """The archive `path`, as a layout where it is one, else as docker's."""
    content = ArchiveContent(path, runtime, AnyForm(bounds), bounds)
    return IndexedRepository(path, content, runtime)


class DockerRepository(IndexedRepository):
    """`ports.repository.Repository` of the images with one name, of none, or of them all."""

    def refuse(self, descriptor: Descriptor, manifest: Manifest) -> None:
        """Raises Unsupported for what docker's archives do not hold."""
        digests = [descriptor.digest, *(child.digest for child in manifest.children)]
        if manifest.is_index:
            raise Unsupported(
                "a docker archive holds images, not an index of several: choose one by its "
                "platform, or write an oci-archive:"
            )
        if manifest.subject is not None:
            raise Unsupported(
                "a docker archive holds images, not what refers to them: write an oci-archive:"
            )
        for digest in digests:
            _refuse_digest(digest)

    async def blob_put(self, descriptor: Descriptor, source: BlobSource) -> None:
        _refuse_digest(descriptor.digest)
        await super().blob_put(descriptor, source)

    async def manifest_put(self, stored: StoredManifest, tags: Sequence[str] = ()) -> None:
        self.refuse(stored.descriptor, checked(stored))
        if tags and not self.naming.name:
            raise Unsupported(
                "a docker archive has whole names, not tags alone: "
                f"want docker-archive:FILE:NAME:{tags[0]}"
            )
        await super().manifest_put(stored, tags)

    async def tags(self, after: str = "", limit: int = 1000) -> list[str]:
        """Raises Ambiguous where several names have tags and none was given."""
        if not self.naming.name:
            names = await self.names()
            if len({familiar(split_tag(name)[0]) for name in names}) > 1:
                raise Ambiguous(f"{self.place} has images of several names: give one", names)
        return await super().tags(after, limit)


def _refuse_digest(digest: Digest) -> None:
    if digest.algorithm != "sha256":
        raise Unsupported(
            f"docker knows sha256 alone, not {digest.algorithm}: write an oci-archive:"
        )


# ---- its form


class DockerForm:
    """`archive.Form`: what ``manifest.json`` leads to."""

    def __init__(self, bounds: ImportLimits | None = None) -> None:
        self._bounds = bounds or ImportLimits()

    def layout(
        self, members: Members, archive: str, keep: Callable[[bytes], Region]
    ) -> dict[str, Region]:
        if MANIFEST_FILE not in members:
            raise ContentDamaged(f"{archive} is no docker archive: no {MANIFEST_FILE}")
        return DockerReading(members, archive, keep, self._bounds).layout()

    def others(
        self, index: LayoutIndex, read: Callable[[Digest], bytes | None]
    ) -> Mapping[str, bytes]:
        return {MANIFEST_FILE: dump_saved(index, read)}


class AnyForm(DockerForm):
    """A layout where it is one, else docker's."""

    def layout(
        self, members: Members, archive: str, keep: Callable[[bytes], Region]
    ) -> dict[str, Region]:
        if LAYOUT_FILE in members:
            return LayoutForm().layout(members, archive, keep)
        if MANIFEST_FILE in members:
            return super().layout(members, archive, keep)
        raise ContentDamaged(
            f"{archive} is neither an image layout (no {LAYOUT_FILE}) nor a docker archive "
            f"(no {MANIFEST_FILE})"
        )
