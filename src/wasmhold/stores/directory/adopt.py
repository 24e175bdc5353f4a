"""Layouts that other tools wrote: taken in when they are first asked for, and watched from then on.

A folder with ``oci-layout`` is a repository.  Whoever asks first makes our folder in it.  Then, and
later at most once a second, its ``index.json`` is looked at: when it is not the one that we know,
what the other tool changed is taken over, under the repository's exclusive lock.

What an entry leads to and is not there, or is other bytes, or a symbolic link, is left out and
told.  Its entry is kept, and tried again once a minute, for perhaps the layout is still being
copied; meanwhile nothing of the repository is collected.  A layout that leads out of the root
through a symbolic link is refused as a whole: a push to it would write there.

What was changed is the difference between the document that we knew last and the one that is there.
A tag that has moved in the store meanwhile stays as it is: a push that was acknowledged is never
undone by a file that is derived.  Where the document is not based on the one that we know, nothing
can be said of what was removed, and only what is new is taken.

Source: image-spec, "Image Layout"; distribution-spec, "Referrers Tag Schema".
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from ...oci.children import is_manifest, is_required
from ...oci.descriptor import Descriptor
from ...oci.digest import DEFAULT_ALGORITHM, HEX_LENGTH, Digest
from ...oci.errors import ManifestInvalid, NameInvalid, StoreUnavailable
from ...oci.layout import tag_of
from ...oci.limits import MIB
from ...oci.manifest import Manifest, parse_manifest
from . import paths
from .disk import Disk, mark_dirty
from .index import (
    CHILD,
    Index,
    Tell,
    parse,
    read_kept,
    remember,
    replace_file,
    write_state,
)
from .paths import RepositoryPaths

LOOK_S: Final = 1.0  # between two looks at one repository
AGAIN_S: Final = 60.0  # until what was left out is tried again

# A list of referrers that olareg made for itself; nobody pushed it.
OLAREG_SUBJECT: Final = "org.olareg.referrer.subject"

_MANIFEST: Final = 16 * MIB  # bytes; what is larger is no manifest that anybody takes
_NAMES: Final = 64 * 1024  # repositories that are remembered, then all are looked at anew
_LINES: Final = 10_000  # that were told, then each is told anew
_TAGS_TOLD: Final = 10  # by name
_LET_PASS: Final = 200  # manifests, then others have their turn


@dataclass(frozen=True, slots=True)
class Found:
    """A manifest of a layout that is what its digest says, with all its blobs."""

    digest: Digest
    media_type: str
    subject: Digest | None


class Walk:
    """Finds what can be taken of one layout, and tells what cannot."""

    def __init__(self, disk: Disk, of: RepositoryPaths, tell: Tell) -> None:
        self._files = disk.files
        self._runtime = disk.runtime
        self._of = of
        self._tell = tell
        self._blobs: dict[Digest, int | None] = {}
        self._seen: set[Digest] = set()
        self.found: dict[Digest, Found] = {}
        self.left_out: dict[Digest, Descriptor] = {}

    async def walk(self, entries: Iterable[Descriptor]) -> None:
        """Everything that the entries lead to, through indexes in indexes."""
        todo = deque(entries)
        while todo:
            entry = todo.popleft()
            if entry.digest in self._seen:
                continue
            self._seen.add(entry.digest)
            if not len(self._seen) % _LET_PASS:
                await self._runtime.sleep(0)
            manifest = await self._read(entry)
            if manifest is None:
                self.left_out[entry.digest] = entry
                continue
            todo += [_as_child(child) for child in manifest.manifests if is_manifest(child)]
            # A list of olareg's is no manifest of the repository, what it lists is.
            if OLAREG_SUBJECT not in entry.annotations:
                subject = manifest.subject.digest if manifest.subject else None
                self.found[entry.digest] = Found(entry.digest, manifest.media_type, subject)

    async def _read(self, entry: Descriptor) -> Manifest | None:
        why = ""
        try:
            content = await self._content(entry.digest)
            manifest = parse_manifest(content, entry.media_type)
            for child in (*((manifest.config,) if manifest.config else ()), *manifest.layers):
                if is_required(child):
                    await self._check_blob(child)
        except (_Refused, ManifestInvalid, StoreUnavailable) as error:
            why = str(error)
        if not why:
            return manifest
        self._tell(f"{self._of.name}: {entry.digest} of the layout is left out: {why}")
        return None

    async def _content(self, digest: Digest) -> bytes:
        size = await self._size(digest)
        if size is None:
            raise _Refused("it is not there")
        if size > _MANIFEST:
            raise _Refused(f"it has {size} bytes, so it is no manifest")
        content = await self._files.read(self._of.blob(digest)) or b""
        if Digest.of(content, digest.algorithm) != digest:
            raise _Refused("its bytes are other bytes")
        return content

    async def _check_blob(self, child: Descriptor) -> None:
        size = await self._size(child.digest)
        if size is None:
            raise _Refused(f"its blob {child.digest} is not there")
        if size != child.size:
            raise _Refused(f"its blob {child.digest} has {size} bytes, not {child.size}")

    async def _size(self, digest: Digest) -> int | None:
        """Bytes of a blob.  Raises StoreUnavailable for a symbolic link: none is followed."""
        if digest not in self._blobs:
            body = await self._files.open_body(self._of.blob(digest), 0, None)
            if body is not None:
                await body.aclose()
            self._blobs[digest] = None if body is None else body.size
        return self._blobs[digest]


def _as_child(child: Descriptor) -> Descriptor:
    return Descriptor(child.media_type, child.digest, child.size, annotations={CHILD: "true"})


class _Refused(Exception):
    """Why an entry is left out."""


class Adoption:
    """Looks at repositories on behalf of a store."""

    def __init__(self, disk: Disk, tell: Tell) -> None:
        self._disk = disk
        self._files = disk.files
        self._say = tell
        self._said: set[str] = set()
        self._due: dict[str, float] = {}  # name to when it is looked at again
        self._known: dict[str, str] = {}  # name to the state of the index.json that we know
        self._again: dict[str, float] = {}  # name to when what was left out is tried again

    def _tell(self, line: str) -> None:
        """Each line once: what is wrong is met again and again."""
        if line not in self._said:
            if len(self._said) >= _LINES:
                self._said.clear()
            self._said.add(line)
            self._say(line)

    async def look(self, name: str, *, at_once: bool = False) -> bool:
        """Take in what other tools did to the repository; whether there is one.

        At most once a second, unless `at_once`.  Raises StoreUnavailable for a layout that leads
        out of the root.
        """
        now = self._disk.runtime.now()
        if not at_once and now < self._due.get(name, 0.0):
            return True
        try:
            of = paths.repository(name)
        except NameInvalid:
            return False
        if await self._files.stat(of.meta) is None and await self._files.stat(of.layout) is None:
            return False
        if name not in self._due:
            await self._check_folders(of)
            self._again[name] = now
        else:
            self._due[name] = now + LOOK_S  # nobody else needs to look, nor to wait for us
        await self._try_again(of, now)
        if await self._has_changed(of):
            with self._disk.writing(of):
                await self._take_over(of)
        if len(self._due) >= _NAMES:
            self._due, self._known, self._again = {}, {}, {}
        self._due[name] = now + LOOK_S
        return True

    async def _check_folders(self, of: RepositoryPaths) -> None:
        """Raises StoreUnavailable where a symbolic link stands for a folder."""
        parts = of.blobs.split("/")
        folders = ["/".join(parts[: depth + 1]) for depth in range(len(parts))]
        for folder in (*folders, *(of.blobs_of(algorithm) for algorithm in HEX_LENGTH)):
            try:
                await self._files.has_names(folder)
            except StoreUnavailable as error:
                self._tell(f"{of.name} is not served: a symbolic link is not followed: {error}")
                raise

    async def _try_again(self, of: RepositoryPaths, now: float) -> None:
        """Take what could not be taken before."""
        if now < self._again.get(of.name, now + 1):
            return
        if await self._files.stat(of.index_kept) is not None:
            with self._disk.writing(of):
                async with self._disk.locked(of.lock, exclusive=True):
                    await self._take_kept(of)
        if await self._files.stat(of.index_kept) is not None:
            self._again[of.name] = now + AGAIN_S
        else:
            self._again.pop(of.name, None)

    async def _take_kept(self, of: RepositoryPaths) -> None:
        kept = Index(tuple(await read_kept(self._files, of)))
        walk = Walk(self._disk, of, self._tell)
        await walk.walk(kept.entries)
        if walk.found:
            await mark_dirty(self._disk, of)
            await self._note(of, walk.found.values())
        changed = await self._set_tags(of, {}, kept, walk)
        await self._keep(of, walk.left_out.values())
        if walk.found:
            self._say(_report(of, walk, changed))

    async def _keep(self, of: RepositoryPaths, entries: Collection[Descriptor]) -> None:
        if entries:
            document = {"schemaVersion": 2, "manifests": [entry.to_json() for entry in entries]}
            await replace_file(self._disk, of.index_kept, json.dumps(document).encode())
        else:
            await self._files.unlink(of.index_kept)

    async def _has_changed(self, of: RepositoryPaths) -> bool:
        status = await self._files.stat(of.index)
        if status is None:
            return await self._files.stat(of.meta) is None
        state = write_state(status)
        if self._known.get(of.name) == state:
            return False
        written = await self._files.read(of.index_state)
        if written is None or written.decode(errors="replace") != state:
            return True
        self._known[of.name] = state
        return False

    async def _take_over(self, of: RepositoryPaths) -> None:
        await self._disk.make_repository(of, DEFAULT_ALGORITHM)
        async with self._disk.locked(of.lock, exclusive=True):
            status = await self._files.stat(of.index)
            if status is None or not await self._has_changed(of):
                return
            content = await self._files.read(of.index) or b""
            theirs = self._parse(of, content)
            if theirs is None:  # perhaps it is being written: it is read again when it changes
                self._known[of.name] = write_state(status)
                return
            base = await self._files.read(of.index_base)
            # Ours, as it was before: a power loss may bring that back.
            if base is None or not theirs.is_ours:
                await self._apply(of, base, theirs)
            await remember(self._disk, of, status, content)
            self._known[of.name] = write_state(status)

    async def _apply(self, of: RepositoryPaths, written: bytes | None, theirs: Index) -> None:
        """Do what the other tool did."""
        base = _base(written, theirs)
        before = set() if base is None else {_identity(entry) for entry in base.entries}
        walk = Walk(self._disk, of, self._tell)
        await walk.walk([entry for entry in theirs.entries if _identity(entry) not in before])
        if written is not None:  # else what is there is as good as ours
            await mark_dirty(self._disk, of)
        if walk.found:
            await self._note(of, walk.found.values())
        was = {} if base is None else base.tags
        changed = await self._set_tags(of, was, theirs, walk)
        changed += await self._remove_tags(of, was, theirs)
        gone = [] if base is None else await self._remove(of, base, theirs)
        # Kept is what could not be taken, as long as the other tool has it.
        listed = {entry.digest for entry in theirs.entries}
        kept = {entry.digest: entry for entry in await read_kept(self._files, of)}
        if base is not None:
            kept = {d: e for d, e in kept.items() if d in listed or CHILD in e.annotations}
        if kept or walk.left_out:
            self._again[of.name] = self._disk.runtime.now() + AGAIN_S
        await self._keep(of, (kept | walk.left_out).values())
        if walk.found or changed or gone:
            self._say(_report(of, walk, changed))

    async def _set_tags(
        self, of: RepositoryPaths, was: Mapping[str, Descriptor], theirs: Index, walk: Walk
    ) -> list[str]:
        """Point the tags at what was found; what was done, by tag."""
        changed: list[str] = []
        for tag, entry in theirs.tags.items():
            held, current = await self._current(of, was.get(tag), tag)
            if held and entry.digest in walk.found and entry.digest != current:
                await self._point(of, tag, entry.digest)
                changed.append(f"{tag} set")
        if changed:
            await self._disk.sync(of.tags)
        return changed

    async def _remove_tags(
        self, of: RepositoryPaths, was: Mapping[str, Descriptor], theirs: Index
    ) -> list[str]:
        removed: list[str] = []
        for tag, entry in was.items():
            if tag in theirs.tags:
                continue
            held, current = await self._current(of, entry, tag)
            if held and current is not None:
                await self._files.unlink(of.tag(tag))
                removed.append(f"{tag} removed")
        if removed:
            await self._disk.sync(of.tags)
        return removed

    async def _note(self, of: RepositoryPaths, found: Collection[Found]) -> None:
        """Write that these are manifests, and referrers; what they refer to is durable before."""
        await self._disk.sync(*{of.blobs_of(item.digest.algorithm) for item in found})
        folders: set[str] = set()
        for item in found:
            await self._disk.note(item.media_type, of.manifest(item.digest))
            folders.add(of.manifests)
            if item.subject is not None:
                folder = of.referrers_of(item.subject)
                await self._files.make_folder(folder)
                await self._disk.note(item.media_type, of.referrer(item.subject, item.digest))
                folders |= {folder, of.referrers}
        await self._disk.sync(*folders)

    async def _current(
        self, of: RepositoryPaths, was: Descriptor | None, tag: str
    ) -> tuple[bool, Digest | None]:
        """Whether the tag is where the base has it, and where it is."""
        text = await self._files.readlink(of.tag(tag))
        current = None if text is None else paths.read_short(text)
        return current == (None if was is None else was.digest), current

    async def _point(self, of: RepositoryPaths, tag: str, digest: Digest) -> None:
        tmp = self._disk.tmp()
        await self._files.symlink(paths.write_short(digest), tmp)
        try:
            await self._files.rename(tmp, of.tag(tag))
        except BaseException:
            await self._files.unlink(tmp)
            raise

    async def _remove(self, of: RepositoryPaths, base: Index, theirs: Index) -> list[Digest]:
        """Manifests that the other tool took out, and whose file it removed too.

        As long as the file is there the manifest stays: that nothing names it is no reason.
        """
        dropped = {entry.digest for entry in base.entries} - {e.digest for e in theirs.entries}
        gone = [d for d in dropped if await self._files.stat(of.blob(d)) is None]
        for digest in gone:
            await self._files.unlink(of.manifest(digest))
        if gone:
            await self._disk.sync(of.manifests)
        return gone

    def _parse(self, of: RepositoryPaths, content: bytes) -> Index | None:
        """None for what cannot be read; it is told."""
        try:
            index = parse(content)
        except ManifestInvalid as error:
            self._tell(f"{of.name}: index.json is not read: {error}")
            return None
        for fault in index.faults:
            self._tell(f"{of.name}: index.json: {fault.path}: {fault.reason}")
        return index


def _report(of: RepositoryPaths, walk: Walk, changed: list[str]) -> str:
    more = len(changed) - _TAGS_TOLD
    tags = ", ".join(changed[:_TAGS_TOLD]) + (f" and {more} more" if more > 0 else "")
    manifests = len(walk.found)
    return (
        f"{of.name}: taken over from index.json: manifests {manifests}, tags {tags or 'unchanged'}"
    )


def _base(written: bytes | None, theirs: Index) -> Index | None:
    """The document that theirs is based on, None when it is not the one that we know."""
    try:
        base = None if written is None else parse(written)
    except ManifestInvalid:
        return None
    return base if base is not None and base.states == theirs.states else None


def _identity(entry: Descriptor) -> tuple[Digest, str | None]:
    return entry.digest, tag_of(entry)
