"""Checking a store: every byte, and everything that points at something.

    manifests  → their file, what it says, their blobs; the entries of their subjects, both ways
    tags       → manifests
    blobs      → the bytes that their names promise; their names in the pool
    index.json, and what lies about

It runs beside servers: what looks wrong is looked at again under the repository's exclusive lock,
which every push shares, before it is told.  A repair rewrites what is derived, and moves wrong
bytes away to ``.wasmhold/bad/``: a push of the right ones mends the place.  It deletes nothing that
was pushed, unless it is told to delete what is broken.

Memory: the inodes of all blobs, and the digests of one repository.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

from ...oci import media_types
from ...oci.digest import HEX_LENGTH, Digest, hasher
from ...oci.errors import ManifestInvalid, ManifestUnknown, StoreUnavailable
from ...oci.manifest import Manifest, parse_manifest
from ..pieces import feed
from . import paths
from .catalog import Catalog
from .disk import Disk, mark_dirty
from .files import Absent, Exists, Status, TooManyLinks
from .findings import Checked, Finding, Found, Kind, Rules
from .index import Deriver, Index, Indexes, parse, read_kept
from .manifests import DirectoryManifests
from .paths import RepositoryPaths

_PAGE: Final = 1000  # repositories


class Checker:
    def __init__(
        self,
        disk: Disk,
        catalog: Catalog,
        manifests: DirectoryManifests,
        indexes: Indexes,
        look: Callable[[str], Awaitable[object]],
    ) -> None:
        self.disk = disk
        self.catalog = catalog
        self.manifests = manifests
        self.indexes = indexes
        self.look = look

    async def check(self, rules: Rules, found: Found) -> Checked:
        """Check everything, and call `found` with each thing that is wrong."""
        return await _Check(self, rules, found).run()

    async def mend(self, name: str, digest: Digest, found: Found) -> None:
        """Check one blob; wrong bytes are moved away, and `found` is told."""
        await _Check(self, Rules(repair=True), found).blob(name, digest)


@dataclass(slots=True)
class _Repository:
    """What is known of one repository while it is checked."""

    of: RepositoryPaths
    subjects: dict[Digest, Digest | None] = field(default_factory=dict)  # of manifests that read
    broken: dict[Digest, str] = field(default_factory=dict)  # manifests that cannot be served whole
    told: set[Digest] = field(default_factory=set)  # files whose bytes are wrong


class _Check:
    def __init__(self, checker: Checker, rules: Rules, found: Found) -> None:
        self._disk = checker.disk
        self._files = checker.disk.files
        self._catalog = checker.catalog
        self._manifests = checker.manifests
        self._indexes = checker.indexes
        self._look = checker.look
        self._deriver = Deriver(checker.disk)
        self._rules = rules
        self._found = found
        self._good: set[int] = set()  # inodes that hash to their name
        self._bad: set[int] = set()
        self._told: set[int] = set()  # of the bad ones, in a repository
        self._counts = Checked()
        self._begun = self._disk.runtime.now()

    async def run(self) -> Checked:
        names = await self._catalog.layouts("", _PAGE)
        while names:
            for name in names:
                self._counts.repositories += 1
                await self._repository(name)
            names = await self._catalog.layouts(names[-1], _PAGE)
        await self._pool()
        await self._store()
        return self._counts

    async def blob(self, name: str, digest: Digest) -> None:
        seen = _Repository(paths.repository(name))
        if not await self._is_right(seen.of.blob(digest), digest):
            await self._damaged(seen, digest)

    async def _repository(self, name: str) -> None:
        seen = _Repository(paths.repository(name))
        try:
            await self._look(name)
        except StoreUnavailable as error:
            self._found(Finding(Kind.REPOSITORY_REFUSED, str(error), name))
            return
        with suppress(Absent):  # somebody has taken the folder away
            await self._parts(seen)

    async def _parts(self, seen: _Repository) -> None:
        await self._blobs(seen)
        await self._read_manifests(seen)
        await self._tags(seen)
        if self._rules.delete_broken:
            await self._delete_broken(seen)
        await self._referrers(seen)
        await self._kept(seen.of)
        await self._index(seen)

    # ---- bytes

    async def _blobs(self, seen: _Repository) -> None:
        of = seen.of
        for algorithm in sorted(await self._files.names(of.blobs) or []):
            folder = of.blobs_of(algorithm)
            if algorithm not in HEX_LENGTH:
                self._found(Finding(Kind.STRAY, f"{folder} holds no blobs that we know", of.name))
                continue
            for file in sorted(await self._files.names(folder) or []):
                digest = paths.read_hex(algorithm, file)
                if digest is None:
                    self._found(Finding(Kind.STRAY, f"{folder}/{file} is no blob", of.name))
                    continue
                self._counts.blobs += 1
                if await self._is_right(of.blob(digest), digest):
                    await self._check_pooled(of, digest)
                else:
                    await self._damaged(seen, digest)

    async def _is_right(self, path: str, digest: Digest) -> bool:
        """Whether the file hashes to its name; each file is read once, whatever it is called."""
        before = await self._files.stat(path)
        if before is None:  # it was removed meanwhile
            return True
        if before.inode in self._good:
            return True
        if before.inode in self._bad:
            return False
        actual = await self._hash(path, digest)
        after = await self._files.stat(path)
        if after is None or after.inode != before.inode:  # the one that came instead is new
            return True
        (self._good if actual else self._bad).add(before.inode)
        return actual

    async def _hash(self, path: str, digest: Digest) -> bool:
        try:
            body = await self._files.open_body(path, 0, None)
            if body is None:
                return True
            try:
                running = hasher(digest.algorithm)
                async for piece in body:
                    await feed(running, self._disk.runtime, piece)
                    await self._slow_down(len(piece))
            finally:
                await body.aclose()
        except StoreUnavailable:  # a symbolic link, a folder, or a disk that cannot read it
            return False
        return running.hexdigest() == digest.encoded

    async def _slow_down(self, read: int) -> None:
        self._counts.read += read
        if self._rules.rate is not None:
            due = self._begun + self._counts.read / self._rules.rate
            wait = due - self._disk.runtime.now()
            if wait > 0:
                await self._disk.runtime.sleep(wait)

    async def _damaged(self, seen: _Repository, digest: Digest) -> None:
        of, path = seen.of, seen.of.blob(digest)
        async with self._disk.locked(of.lock, exclusive=True):
            status = await self._files.stat(path)
            if status is None or status.inode not in self._bad:
                return
            self._told.add(status.inode)
            is_manifest = await self._files.readlink(of.manifest(digest)) is not None
            kind = Kind.MANIFEST_DAMAGED if is_manifest else Kind.BLOB_DAMAGED
            finding = Finding(kind, f"{digest} is other bytes than that", of.name, digest)
            if self._rules.repair:
                finding = await self._quarantine(finding, path, digest, status)
        if not finding.is_mended:
            seen.told.add(digest)
        self._found(finding)

    async def _quarantine(
        self, finding: Finding, path: str, digest: Digest, status: Status
    ) -> Finding:
        """Take the file away, and put the pool's in its place, when that is another one."""
        await self._files.make_folder(paths.BAD)
        kept = f"{paths.BAD}/{digest.algorithm}-{digest.encoded}.{status.inode}"
        await self._files.rename(path, kept)
        await self._files.unlink(path)  # it is there still when both were names of one file
        pool = paths.pool(digest)
        pooled = None if path == pool else await self._files.stat(pool)
        if pooled is not None and pooled.inode == status.inode:
            await self._files.unlink(pool)
        elif pooled is not None and await self._is_right(pool, digest):
            with suppress(Exists, TooManyLinks):
                await self._files.link(pool, path)
                finding = replace(finding, repair="replaced by the pool's copy", is_mended=True)
        await self._disk.sync(path.rpartition("/")[0], paths.BAD)
        if finding.is_mended:
            return finding
        return replace(finding, repair=f"moved to {kept}; push it again")

    async def _check_pooled(self, of: RepositoryPaths, digest: Digest) -> None:
        pool = paths.pool(digest)
        if await self._files.stat(pool) is not None:
            return
        if await self._files.readlink(of.manifest(digest)) is not None:
            return  # manifests have no name in the pool
        finding = Finding(Kind.POOL_MISSING, f"{digest} is not in the pool", of.name, digest)
        if self._rules.repair:
            await self._disk.make_folder(pool.rpartition("/")[0], durable=False)
            try:
                await self._files.link(of.blob(digest), pool)
            except (Absent, TooManyLinks):
                return
            except Exists:
                pass
            finding = replace(finding, repair="added", is_mended=True)
        self._found(finding)

    # ---- manifests

    async def _read_manifests(self, seen: _Repository) -> None:
        of = seen.of
        for file, media_type in sorted((await self._files.texts(of.manifests)).items()):
            digest = paths.read_digest(file)
            if digest is None:
                self._found(Finding(Kind.STRAY, f"{of.manifests}/{file} is no digest", of.name))
                continue
            self._counts.manifests += 1
            content = await self._read(of, digest)
            if content is None or Digest.of(content, digest.algorithm) != digest:
                await self._broken_manifest(seen, digest)
                continue
            try:
                manifest = parse_manifest(content, media_type)
                seen.subjects[digest] = manifest.subject.digest if manifest.subject else None
                await self._references(seen, digest, manifest)
            except ManifestInvalid as error:
                seen.broken[digest] = str(error)
                what = f"{digest} with the media type {media_type!r} is no manifest: {error}"
                self._found(Finding(Kind.MANIFEST_DAMAGED, what, of.name, digest))

    async def _read(self, of: RepositoryPaths, digest: Digest) -> bytes | None:
        try:
            return await self._files.read(of.blob(digest))
        except StoreUnavailable:
            return None

    async def _broken_manifest(self, seen: _Repository, digest: Digest) -> None:
        of = seen.of
        async with self._disk.locked(of.lock, exclusive=True):
            if await self._files.readlink(of.manifest(digest)) is None:
                return  # it was deleted meanwhile
            status = await self._files.stat(of.blob(digest))
            content = await self._read(of, digest)
        if content is not None and Digest.of(content, digest.algorithm) == digest:
            return  # it was pushed again meanwhile
        seen.broken[digest] = "its bytes"
        if status is None and digest not in seen.told:
            what = f"the manifest {digest} has no file"
            self._found(Finding(Kind.MANIFEST_MISSING, what, of.name, digest))

    async def _references(self, seen: _Repository, digest: Digest, manifest: Manifest) -> None:
        of = seen.of
        for child in manifest.children:
            status = await self._files.stat(of.blob(child.digest))
            is_manifest = child.media_type in media_types.MANIFESTS | media_types.INDEXES
            if is_manifest and await self._files.readlink(of.manifest(child.digest)) is None:
                status = None
            if status is not None:
                if status.size != child.size:
                    what = (
                        f"{digest} says that {child.digest} has {child.size} bytes, "
                        f"it has {status.size}"
                    )
                    self._found(Finding(Kind.SIZE_DIFFERS, what, of.name, child.digest))
            elif is_manifest or child.urls or child.media_type in media_types.NONDISTRIBUTABLE:
                what = f"{digest} refers to {child.digest}, which is not here"
                self._found(Finding(Kind.CHILD_ABSENT, what, of.name, child.digest))
            else:
                await self._blob_missing(seen, digest, child.digest)

    async def _blob_missing(self, seen: _Repository, digest: Digest, child: Digest) -> None:
        of = seen.of
        finding = Finding(
            Kind.BLOB_MISSING, f"{child} of the manifest {digest} is missing", of.name, child
        )
        async with self._disk.locked(of.lock, exclusive=True):
            if (
                await self._files.readlink(of.manifest(digest)) is None
                or await self._files.stat(of.blob(child)) is not None
            ):
                return
            if self._rules.repair and await self._is_pooled(child):
                await self._disk.make_repository(of, child.algorithm)
                with suppress(Exists, TooManyLinks):
                    await self._files.link(paths.pool(child), of.blob(child))
                    await self._disk.sync(of.blobs_of(child.algorithm))
                    finding = replace(finding, repair="taken from the pool", is_mended=True)
        if not finding.is_mended:
            seen.broken[digest] = f"its blob {child}"
        self._found(finding)

    async def _is_pooled(self, digest: Digest) -> bool:
        pool = paths.pool(digest)
        return await self._files.stat(pool) is not None and await self._is_right(pool, digest)

    async def _delete_broken(self, seen: _Repository) -> None:
        for digest, why in sorted(seen.broken.items()):
            seen.subjects.pop(digest, None)
            with suppress(ManifestUnknown):
                await self._manifests.delete(seen.of.name, digest, lambda tag, current: None)
                what = f"the manifest {digest} was deleted with its tags, because of {why}"
                kind = Kind.MANIFEST_DAMAGED
                self._found(Finding(kind, what, seen.of.name, digest, "deleted", is_mended=True))

    # ---- what points at manifests

    async def _tags(self, seen: _Repository) -> None:
        of = seen.of
        for file, text in sorted((await self._files.texts(of.tags)).items()):
            self._counts.tags += 1
            digest = paths.read_short(text)
            if digest is None or await self._files.readlink(of.manifest(digest)) is None:
                await self._bad_tag(of, file)

    async def _bad_tag(self, of: RepositoryPaths, file: str) -> None:
        path, tag = f"{of.tags}/{file}", paths.unescape_tag(file)
        async with self._disk.locked(of.lock, exclusive=True):
            text = await self._files.readlink(path)
            if text is None:
                return
            digest = paths.read_short(text)
            if digest is None:
                finding = Finding(Kind.TAG_DAMAGED, f"the tag {tag} says {text[:80]!r}", of.name)
                known = (await self._last_index(of)).tags.get(tag)
                if (
                    self._rules.repair
                    and known is not None
                    and await self._files.readlink(of.manifest(known.digest)) is not None
                ):
                    tmp = self._disk.tmp()
                    await self._files.symlink(paths.write_short(known.digest), tmp)
                    await self._files.rename(tmp, path)
                    await self._disk.sync(of.tags)
                    repair = f"set to {known.digest}, as index.json has it"
                    finding = replace(finding, repair=repair, is_mended=True)
            elif await self._files.readlink(of.manifest(digest)) is None:
                what = f"the tag {tag} points to {digest}, which is no manifest here"
                finding = Finding(Kind.TAG_DANGLING, what, of.name, digest)
            else:
                return
            if self._rules.delete_broken and not finding.is_mended:
                await mark_dirty(self._disk, of)
                await self._files.unlink(path)
                await self._disk.sync(of.tags)
                finding = replace(finding, repair="deleted", is_mended=True)
        self._found(finding)

    async def _last_index(self, of: RepositoryPaths) -> Index:
        try:
            return parse(await self._files.read(of.index) or b"")
        except ManifestInvalid:
            return Index()

    async def _referrers(self, seen: _Repository) -> None:
        of = seen.of
        for digest, wanted in sorted(seen.subjects.items()):
            if (
                wanted is None
                or await self._files.readlink(of.referrer(wanted, digest)) is not None
            ):
                continue
            await self._referrer_missing(of, digest, wanted)
        for folder in sorted(await self._files.names(of.referrers) or []):
            subject = paths.read_digest(folder)
            if subject is None:
                self._found(Finding(Kind.STRAY, f"{of.referrers}/{folder} is no digest", of.name))
                continue
            for file in sorted(await self._files.names(of.referrers_of(subject)) or []):
                referrer = paths.read_digest(file)
                if referrer is None or seen.subjects.get(referrer) != subject:
                    await self._referrer_stray(seen, subject, file)

    async def _referrer_missing(self, of: RepositoryPaths, digest: Digest, subject: Digest) -> None:
        what = f"{digest} is not among the referrers of {subject}"
        finding = Finding(Kind.REFERRER_MISSING, what, of.name, digest)
        async with self._disk.locked(of.lock, exclusive=True):
            media_type = await self._files.readlink(of.manifest(digest))
            path = of.referrer(subject, digest)
            if media_type is None or await self._files.readlink(path) is not None:
                return
            if self._rules.repair:
                await self._files.make_folder(of.referrers_of(subject))
                await self._disk.note(media_type, path)
                await self._disk.sync(of.referrers, of.referrers_of(subject))
                finding = replace(finding, repair="added", is_mended=True)
        self._found(finding)

    async def _referrer_stray(self, seen: _Repository, subject: Digest, file: str) -> None:
        of = seen.of
        digest = paths.read_digest(file)
        path = f"{of.referrers_of(subject)}/{file}"
        what = f"{file} is listed as a referrer of {subject}, and is none"
        finding = Finding(Kind.REFERRER_STRAY, what, of.name, digest)
        async with self._disk.locked(of.lock, exclusive=True):
            is_new = (
                digest is not None
                and digest not in seen.subjects
                and await self._files.readlink(of.manifest(digest)) is not None
            )
            if is_new or await self._files.readlink(path) is None:
                return  # pushed, or deleted, since we read the manifests
            if self._rules.repair:
                await self._files.unlink(path)
                await self._files.remove_folder(of.referrers_of(subject))
                finding = replace(finding, repair="removed", is_mended=True)
        self._found(finding)

    # ---- what is derived, and the rest

    async def _kept(self, of: RepositoryPaths) -> None:
        """What another tool's index.json led to, and could not be taken."""
        kept = await read_kept(self._files, of)
        if kept and self._rules.delete_broken:
            async with self._disk.locked(of.lock, exclusive=True):
                await mark_dirty(self._disk, of)
                await self._files.unlink(of.index_kept)
        for entry in kept:
            what = f"{entry.digest} of another tool's index.json could not be taken"
            finding = Finding(Kind.ENTRY_LEFT_OUT, what, of.name, entry.digest)
            if self._rules.delete_broken:
                finding = replace(finding, repair="forgotten", is_mended=True)
            self._found(finding)

    async def _index(self, seen: _Repository) -> None:
        of = seen.of
        if await self._files.stat(of.index) is None and not seen.subjects:
            return
        if await self._indexes.is_marked(of.name):  # as it may be, for a second
            if self._rules.repair:
                await self._indexes.write(of.name)
            return
        wanted, there = parse(await self._deriver.derive(of)), await self._last_index(of)
        tags = {tag: entry.digest for tag, entry in wanted.tags.items()}
        listed = {entry.digest for entry in there.entries}
        their_tags = {tag: entry.digest for tag, entry in there.tags.items()}
        if tags == their_tags and wanted.untagged.keys() <= listed:
            return
        if await self._indexes.is_marked(of.name):  # somebody has just begun
            return
        finding = Finding(Kind.INDEX_BEHIND, "index.json is not what the tags say", of.name)
        if self._rules.repair:
            await self._indexes.write(of.name)
            finding = replace(finding, repair="written anew", is_mended=True)
        self._found(finding)

    async def _pool(self) -> None:
        for algorithm in HEX_LENGTH:
            shelf = f"{paths.POOL}/{algorithm}"
            for folder in sorted(await self._files.names(shelf) or []):
                for file in sorted(await self._files.names(f"{shelf}/{folder}") or []):
                    path = f"{shelf}/{folder}/{file}"
                    digest = paths.read_hex(algorithm, file)
                    if digest is None or paths.pool(digest) != path:
                        self._found(Finding(Kind.STRAY, f"{path} is no blob"))
                    elif not await self._is_right(path, digest):
                        await self._damaged_pool(path, digest)

    async def _damaged_pool(self, path: str, digest: Digest) -> None:
        status = await self._files.stat(path)
        if status is None or status.inode not in self._bad - self._told:
            return
        what = f"{digest} in the pool is other bytes than that"
        finding = Finding(Kind.BLOB_DAMAGED, what, None, digest)
        if self._rules.repair:  # no repository needs it: who pushes it brings its own
            finding = await self._quarantine(finding, path, digest, status)
            finding = replace(finding, is_mended=True)
        self._found(finding)

    async def _store(self) -> None:
        known = {path.rpartition("/")[2] for path in paths.OURS}
        for name in sorted(await self._files.names(paths.META) or []):
            if name.removesuffix(".queue") not in known:
                self._found(Finding(Kind.STRAY, f"{paths.META}/{name} is nothing that we know"))
