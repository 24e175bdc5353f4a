"""What an image layout is in any container: manifests that an ``index.json`` leads to.

Changes of the index are gathered and written by `flush`, in one step: so a copy of ten thousand
tags writes it once, and what it leads to is there before.  Of manifests without a tag only those
get an entry that no other one leads to: what a copy began with, and referrers.

Source: image-spec, "Image Layout"; distribution-spec, "Referrers Tag Schema".
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ...oci import limits
from ...oci.children import is_manifest, is_required
from ...oci.descriptor import Descriptor
from ...oci.digest import Digest
from ...oci.errors import (
    BlobUnknown,
    CannotList,
    ContentDamaged,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestTooLarge,
    ManifestUnknown,
    NameUnknown,
)
from ...oci.layout import (
    INDEX_FILE,
    LAYOUT_FILE,
    LayoutIndex,
    Naming,
    check_layout,
    tag_of,
    whole_name_of,
)
from ...oci.manifest import Manifest, parse_manifest
from ...ports.body import Body
from ...ports.repository import BlobSource, Repository
from ...ports.runtime import Runtime, obtained
from ...ports.store import StoredManifest
from ..verify import checked, read_back
from .files import FileBody, let_go

Change = Callable[[LayoutIndex], LayoutIndex]


class Content(Protocol):
    """Where the files of a layout lie.  All calls but `put_blob` may block."""

    def index(self) -> LayoutIndex | None:
        """None when there is no layout yet.  Raises ContentDamaged, ManifestInvalid."""
        ...

    def state(self) -> object:
        """Equal as long as `index` gives the same."""
        ...

    def size(self, digest: Digest) -> int | None: ...

    def read(self, digest: Digest, limit: int) -> bytes | None:
        """A blob that should be small.  Raises ContentDamaged when it has more than `limit`."""
        ...

    def body(self, digest: Digest, start: int) -> FileBody | None: ...

    async def put_blob(self, descriptor: Descriptor, source: BlobSource) -> None: ...

    def put(self, digest: Digest, content: bytes) -> None:
        """The bytes of a manifest, which are right."""
        ...

    def update(self, change: Change, removed: Collection[Digest]) -> None:
        """Change the index that is there now, in one step that outlasts a power loss.

        Then the blobs that are `removed` go.
        """
        ...

    def close(self) -> None: ...


def read_index(path: str, layout: bytes | None, index: bytes) -> LayoutIndex:
    """The index of a layout, from the bytes of its two files.  Raises ContentDamaged."""
    if layout is None:
        raise ContentDamaged(f"{path} has an {INDEX_FILE} and no {LAYOUT_FILE}: no image layout")
    file = LAYOUT_FILE
    try:
        check_layout(layout)
        file = INDEX_FILE
        return LayoutIndex.parse(index)
    except ManifestInvalid as error:
        raise ContentDamaged(f"{path}: {file} is damaged: {error}") from None


@dataclass(slots=True)
class _Pending:
    """What the next flush changes."""

    tags: dict[str, Descriptor | None] = field(default_factory=dict)
    manifests: dict[Digest, Descriptor] = field(default_factory=dict)
    removed: set[Digest] = field(default_factory=set)

    def applied(self, index: LayoutIndex, inner: set[Digest], naming: Naming) -> LayoutIndex:
        """`inner`: what other manifests lead to needs no entry."""
        loose = [d for digest, d in self.manifests.items() if digest not in inner]
        return index.change(self.tags, loose, self.removed, naming)

    def __bool__(self) -> bool:
        return bool(self.tags or self.manifests or self.removed)


class _View:
    """An index, looked up."""

    def __init__(self, state: object, index: LayoutIndex, naming: Naming) -> None:
        self.state = state
        self.entries, self.tags = index.entries, index.tags(naming)
        self.digests = {entry.digest: entry for entry in index.entries}


class IndexedRepository:
    """`ports.repository.Repository` over the content of one layout.

    `naming` says which of its entries are the repository's.
    """

    def __init__(
        self, place: str, content: Content, runtime: Runtime, naming: Naming | None = None
    ) -> None:
        self.place = place
        self.content = content
        self.naming = naming or Naming()
        self._runtime = runtime
        self._pending = _Pending()
        self._inner: set[Digest] = set()  # children of what was put
        self._view: _View | None = None
        self._subjects: tuple[object, dict[Digest, list[Descriptor]]] | None = None
        self._walking = threading.Lock()

    # ---- blobs

    async def blob_size(self, digest: Digest) -> int | None:
        return await self._runtime.offload(self.content.size, digest)

    async def blob_open(self, digest: Digest, start: int = 0) -> Body:
        body = await obtained(self._runtime, lambda: self.content.body(digest, start), let_go)
        if body is None:
            raise BlobUnknown(self.place, str(digest))
        return body

    async def blob_put(self, descriptor: Descriptor, source: BlobSource) -> None:
        await self.content.put_blob(descriptor, source)

    async def blob_mount(self, digest: Digest, source: Repository) -> bool:
        return False  # a link would share what somebody writes into one of the two

    # ---- manifests

    async def resolve(self, reference: str | Digest) -> Descriptor | None:
        """Raises ContentDamaged when a tag leads to what is not there, or is other bytes."""
        try:
            stored = await self.manifest_get(reference)
        except (ManifestUnknown, ManifestTooLarge):
            return None
        except ContentDamaged:
            # By digest it is as if it were not there: then a copy mends it.
            if isinstance(reference, Digest):
                return None
            raise
        return stored.descriptor

    async def manifest_get(self, reference: str | Digest) -> StoredManifest:
        return await self._runtime.offload(self._get, reference)

    def _get(self, reference: str | Digest) -> StoredManifest:
        unknown = ManifestUnknown(self.place, str(reference))
        view = self._index()
        if isinstance(reference, str):
            entry = view.tags.get(reference)
        else:
            entry = view.digests.get(reference)
        if entry is not None:
            digest = entry.digest
        elif isinstance(reference, Digest) and reference not in self._pending.removed:
            digest = reference
        else:
            raise unknown
        size = self.content.size(digest)
        if size is None and entry is None:
            raise unknown
        if size is None:
            raise ContentDamaged(
                f"{self.place}: index.json lists {digest}, whose blob is not there: copy it anew"
            )
        if size > limits.MANIFEST:
            raise ManifestTooLarge(limits.MANIFEST)
        content = self.content.read(digest, limits.MANIFEST) or b""
        read_back(self.place, digest, content)
        try:
            media_type = entry.media_type if entry else parse_manifest(content).media_type
        except ManifestInvalid:
            raise unknown from None  # a layer, perhaps
        return StoredManifest(digest, media_type, content)

    async def manifest_put(self, stored: StoredManifest, tags: Sequence[str] = ()) -> None:
        manifest = checked(stored)
        await self._runtime.offload(self._put, stored, manifest)
        descriptor = stored.descriptor
        self._inner |= {child.digest for child in manifest.manifests if is_manifest(child)}
        self._pending.removed.discard(stored.digest)
        self._pending.tags.update(dict.fromkeys(tags, descriptor))
        self._pending.manifests[stored.digest] = descriptor
        self._changed()

    def _put(self, stored: StoredManifest, manifest: Manifest) -> None:
        absent = [
            str(child.digest)
            for child in manifest.children
            if is_required(child) and self.content.size(child.digest) is None
        ]
        if absent:
            raise ManifestBlobUnknown(absent)
        self.content.put(stored.digest, stored.content)

    async def manifest_delete(self, digest: Digest) -> None:
        await self.manifest_get(digest)
        pending = self._pending
        pending.manifests.pop(digest, None)
        for tag, at in self._index().tags.items():
            if at.digest == digest:
                pending.tags[tag] = None
        pending.removed.add(digest)
        self._changed()

    async def referrers(
        self, subject: Digest, artifact_type: str | None = None
    ) -> list[Descriptor]:
        found = (await self._runtime.offload(self._all_referrers)).get(subject, [])
        return [d for d in found if artifact_type in (None, d.artifact_type)]

    def _all_referrers(self) -> Mapping[Digest, list[Descriptor]]:
        """By subject: those with entries, and those that indexes lead to.

        A list under the tag for referrers is such an index too.  Raises CannotList.
        """
        with self._walking:  # once, whoever asks first
            state, known = self.content.state(), self._subjects
            if known is None or known[0] != state:
                self._subjects = known = state, self._find_referrers()
            return known[1]

    def _find_referrers(self) -> dict[Digest, list[Descriptor]]:
        index = self._index()
        subjects: dict[Digest, list[Descriptor]] = {}
        entries = [entry.digest for entry in index.entries if is_manifest(entry)]
        seen = {*entries}
        todo = [(digest, True) for digest in entries]
        while todo:
            digest, is_entry = todo.pop()
            try:
                stored = self._get(digest)
                manifest = parse_manifest(stored.content, stored.media_type)
            except (ManifestUnknown, ManifestTooLarge, ManifestInvalid, ContentDamaged) as error:
                if is_entry:
                    raise CannotList(f"what refers to what is not known: {error}") from error
                continue  # an index may name what is not there
            if manifest.subject is not None:
                descriptor = manifest.descriptor(digest, len(stored.content))
                subjects.setdefault(manifest.subject.digest, []).append(descriptor)
            new = {child.digest for child in manifest.manifests if is_manifest(child)} - seen
            seen |= new
            todo += [(digest, False) for digest in new]
            if len(seen) > limits.GRAPH_NODES:
                raise CannotList(f"{self.place} has more than {limits.GRAPH_NODES} manifests")
        for found in subjects.values():
            found.sort(key=lambda descriptor: descriptor.digest)
        return subjects

    # ---- tags

    async def tags(self, after: str = "", limit: int = 1000) -> list[str]:
        """Raises NameUnknown where there is no layout."""
        index = await self._runtime.offload(self._index)
        if not index.entries and self.content.state() is None:
            raise NameUnknown(self.place)
        return sorted(tag for tag in index.tags if tag > after)[:limit]

    async def tag_delete(self, tag: str) -> None:
        if tag not in (await self._runtime.offload(self._index)).tags:
            raise ManifestUnknown(self.place, tag)
        self._pending.tags[tag] = None
        self._changed()

    async def only(self) -> Descriptor:
        """What is meant where no tag is given: the one entry that there is.

        Raises ManifestUnknown where there is none, or several; it names them.
        """
        entries, naming = await self.entries(), self.naming
        digests = {one.digest for one in entries if not one.annotations or naming.tag_of(one)}
        if len(digests) == 1:
            return next(entry for entry in entries if entry.digest in digests)
        names = ", ".join((await self.names())[:20]) or "none"
        raise ManifestUnknown(self.place, f"without a tag; it has {names}")

    async def names(self) -> list[str]:
        """Of all entries, whole where they are: ``NAME:TAG``, or a tag."""
        found = (whole_name_of(entry) or tag_of(entry) for entry in await self.entries())
        return sorted(name for name in found if name)

    async def entries(self) -> Sequence[Descriptor]:
        """All of the index, whatever they are named, in its order."""
        return (await self._runtime.offload(self._index)).entries

    # ---- the index

    def _changed(self) -> None:
        self._view = self._subjects = None

    def _index(self) -> _View:
        """As it is after the next flush."""
        state, view = self.content.state(), self._view
        if view is None or view.state != state:
            found = self.content.index() or LayoutIndex.empty()
            self._view = view = _View(state, self._applied(self._pending, found), self.naming)
        return view

    async def flush(self) -> None:
        pending, self._pending = self._pending, _Pending()
        if not pending:
            return
        try:
            await self._runtime.offload(self._write, pending)
        except BaseException:
            self._pending = pending  # nothing has changed: it may be tried again
            raise
        finally:
            self._changed()

    def _write(self, pending: _Pending) -> None:
        self.content.update(lambda index: self._applied(pending, index), pending.removed)

    def _applied(self, pending: _Pending, index: LayoutIndex) -> LayoutIndex:
        return pending.applied(index, self._inner, self.naming)

    async def aclose(self) -> None:
        await self._runtime.offload(self.content.close)
