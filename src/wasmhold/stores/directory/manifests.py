"""Manifests: a blob of the repository, and a link that says "this is a manifest here".

The link's text is the media type with which the manifest was pushed.  A name appears only when its
bytes are durable; what refers appears only when what it refers to is durable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from ...oci.children import is_manifest, is_required
from ...oci.digest import Digest
from ...oci.errors import ContentDamaged, ManifestBlobUnknown, ManifestUnknown, WasmholdError
from ...oci.limits import MIB
from ...oci.manifest import Manifest, parse_manifest
from ...ports.store import StoredManifest, TagGuard
from ..memo import Memo
from . import paths
from .disk import Disk, mark_dirty
from .files import Absent, Exists
from .paths import RepositoryPaths
from .tags import DirectoryTags

_CONTENTS: Final = 64 * MIB  # bytes of manifests that are remembered
_REFERENCES: Final = 256 * 1024  # references that are remembered, of all manifests together


class Used(NamedTuple):
    """What a repository needs: its manifests; these, and what they refer to."""

    manifests: set[Digest]
    digests: set[Digest]


class DirectoryManifests:
    """`ports.store.Manifests` without the referrers' list, and what collectors ask."""

    def __init__(self, disk: Disk, tags: DirectoryTags) -> None:
        self._disk = disk
        self._files = disk.files
        self._tags = tags
        # By digest alone: that a repository has the manifest is another question.
        self._contents: Memo[Digest, bytes] = Memo(_CONTENTS, lambda content: 256 + len(content))
        self._references: Memo[Digest, tuple[Digest, ...]] = Memo(
            _REFERENCES, lambda found: 1 + len(found)
        )

    async def get(self, name: str, digest: Digest) -> StoredManifest | None:
        of = paths.repository(name)
        media_type = await self._files.readlink(of.manifest(digest))
        if media_type is None:
            return None
        content = self._contents.get(digest)
        if content is None:
            content = await self._read(of, digest)
            if content is None:
                return None
            self._contents.put(digest, content)
        return StoredManifest(digest, media_type, content)

    async def _read(self, of: RepositoryPaths, digest: Digest) -> bytes | None:
        """None when it was deleted meanwhile.  Raises ContentDamaged."""
        content = await self._files.read(of.blob(digest))
        if content is None and await self._files.readlink(of.manifest(digest)) is None:
            return None
        if content is None or Digest.of(content, digest.algorithm) != digest:
            raise ContentDamaged(f"the manifest {digest} of {of.name} is damaged: push it again")
        return content

    # ---- put

    async def put(
        self,
        name: str,
        stored: StoredManifest,
        manifest: Manifest,
        *,
        tags: Sequence[str],
        guard: TagGuard,
        sparse: bool,
    ) -> None:
        of, digest = paths.repository(name), stored.digest
        tags = [*dict.fromkeys(tags)]
        with self._disk.writing(of):
            await self._disk.make_repository(of, digest.algorithm)
            async with self._disk.locked(of.lock, exclusive=False):
                await self._tags.ask(of, tags, guard)
                entry, folders = of.manifest(digest), {of.blobs_of(digest.algorithm)}
                known = await self._files.readlink(entry)
                if known is None:
                    folders |= await self._check_children(of, manifest, sparse=sparse)
                await mark_dirty(self._disk, of)
                is_durable = known == stored.media_type and await self._disk.is_durable(entry)
                if await self._put_content(of, stored) or not is_durable:
                    await self._disk.sync(*folders)  # its own name and its children's
                    await self._put_entries(of, stored, manifest)
                    await self._disk.note_durable(entry)
                if tags:  # still under the lock: a collector must not come between
                    await self._tags.point(of, tags, digest, guard)
        self._contents.put(digest, stored.content)

    async def _check_children(
        self, of: RepositoryPaths, manifest: Manifest, *, sparse: bool
    ) -> set[str]:
        """The folders of the children's names.  Raises ManifestBlobUnknown."""
        folders: set[str] = set()
        absent: dict[str, None] = {}
        for child in manifest.children:
            if is_manifest(child):
                folder = of.manifests
                there = await self._files.readlink(of.manifest(child.digest)) is not None
            else:
                folder = of.blobs_of(child.digest.algorithm)
                there = await self._files.stat(of.blob(child.digest)) is not None
            if there:
                folders.add(folder)
            elif not sparse and is_required(child):
                absent[str(child.digest)] = None
        if absent:
            raise ManifestBlobUnknown([*absent])
        return folders

    async def _put_content(self, of: RepositoryPaths, stored: StoredManifest) -> bool:
        """Whether anything had to be written."""
        path, digest = of.blob(stored.digest), stored.digest
        found = await self._files.stat(path)
        if found is not None and self._disk.is_verified(digest, found):
            return False
        tmp = self._disk.tmp()
        try:
            await self._files.create(tmp, stored.content)
            await self._files.sync(tmp)
            try:
                await self._files.link(tmp, path)
            except Exists:
                if await self._files.read(path) != stored.content:
                    await self._files.rename(tmp, path)
        finally:
            await self._files.unlink(tmp)
        self._disk.verified(digest, await self._files.stat(path))
        return True

    async def _put_entries(
        self, of: RepositoryPaths, stored: StoredManifest, manifest: Manifest
    ) -> None:
        await self._disk.note(stored.media_type, of.manifest(stored.digest))
        folders = [of.manifests]
        if manifest.subject is not None:
            subject = manifest.subject.digest
            folders.append(of.referrers_of(subject))
            referrer = of.referrer(subject, stored.digest)
            await self._disk.make_folder(folders[1])
            try:
                await self._disk.note(stored.media_type, referrer)
            except Absent:  # the last referrer was deleted meanwhile, and the folder with it
                self._disk.forget_folder(folders[1])
                await self._disk.make_folder(folders[1])
                await self._disk.note(stored.media_type, referrer)
        await self._disk.sync(*folders)

    # ---- delete

    async def delete(self, name: str, digest: Digest, guard: TagGuard) -> None:
        of = paths.repository(name)
        if await self._files.readlink(of.manifest(digest)) is None:
            raise ManifestUnknown(name, str(digest))
        subject = await self._subject(of, digest)
        short = paths.write_short(digest)
        scan = await self._tags.scan(of)
        with self._disk.writing(of):
            async with self._disk.locked(of.lock, exclusive=True):
                if await self._files.readlink(of.manifest(digest)) is None:
                    raise ManifestUnknown(name, str(digest))
                texts = await self._tags.scanned(of, scan)
                files = sorted(file for file, text in texts.items() if text == short)
                for file in files:
                    guard(paths.unescape_tag(file), digest)
                await mark_dirty(self._disk, of)
                for file in files:
                    await self._files.unlink(f"{of.tags}/{file}")
                await self.remove(of, digest, subject)

    async def remove(self, of: RepositoryPaths, digest: Digest, subject: Digest | None) -> None:
        """Take away what says that it is a manifest; the exclusive lock is held."""
        # A tag must not come back, after a power loss, to a manifest that does not.
        await self._disk.sync(of.tags)
        await self._files.unlink(of.manifest(digest))
        folders = [of.manifests]
        if subject is not None:
            folder = of.referrers_of(subject)
            await self._files.unlink(of.referrer(subject, digest))
            if await self._files.remove_folder(folder):
                self._disk.forget_folder(folder)
                folder = of.referrers
            folders.append(folder)
        await self._disk.sync(*folders)

    async def _subject(self, of: RepositoryPaths, digest: Digest) -> Digest | None:
        """None also when it cannot be read: what is left over is no referrer for anybody."""
        try:
            manifest = await self.parsed(of, digest)
        except WasmholdError:
            return None
        return None if manifest is None or manifest.subject is None else manifest.subject.digest

    async def parsed(self, of: RepositoryPaths, digest: Digest) -> Manifest | None:
        """None when it was deleted meanwhile.  Raises ContentDamaged."""
        stored = await self.get(of.name, digest)
        return None if stored is None else parse_manifest(stored.content, stored.media_type)

    # ---- references, for those who remove

    async def entries(self, of: RepositoryPaths) -> dict[Digest, str]:
        """The media types of all manifests."""
        texts = await self._files.texts(of.manifests)
        found = {paths.read_digest(file): text for file, text in texts.items()}
        return {digest: text for digest, text in found.items() if digest is not None}

    async def references(
        self, of: RepositoryPaths, digest: Digest, media_type: str
    ) -> tuple[Digest, ...]:
        """What the manifest refers to, which never changes; nothing when it is gone.

        Raises ContentDamaged.
        """
        found = self._references.get(digest)
        if found is None:
            content = await self._read(of, digest)
            if content is None:
                return ()
            manifest = parse_manifest(content, media_type)
            found = tuple(dict.fromkeys(child.digest for child in manifest.children))
            self._references.put(digest, found)
        return found

    async def used(self, of: RepositoryPaths) -> Used:
        """All manifests, and what they refer to.  Raises ContentDamaged."""
        return await self._used(of, await self.entries(of))

    async def used_again(self, of: RepositoryPaths, before: Used) -> Used:
        """The same under the lock, where only what has come since `before` is read."""
        files = await self._files.names(of.manifests) or []
        entries: dict[Digest, str] = {}
        for file in files:
            digest = paths.read_digest(file)
            if digest is not None and digest not in before.manifests:
                entries[digest] = await self._files.readlink(of.manifest(digest)) or ""
        new = await self._used(of, entries)
        return Used(before.manifests | new.manifests, before.digests | new.digests)

    async def _used(self, of: RepositoryPaths, entries: Mapping[Digest, str]) -> Used:
        async def references(entry: tuple[Digest, str]) -> tuple[Digest, ...]:
            return await self.references(of, *entry)

        found = await self._disk.runtime.map(references, [*entries.items()], 1)
        digests = {*entries, *(digest for digests in found for digest in digests)}
        return Used({*entries}, digests)
