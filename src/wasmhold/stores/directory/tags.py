"""Tags: links whose text is the digest.

Reading one is one call, and so is changing it.  What a guard has allowed must still be so when the
tag changes: `tags.lock` is held for the moment in which both happen, and for no sync.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ...oci.digest import Digest
from ...oci.errors import ManifestUnknown, WasmholdError
from ...ports.store import TagGuard
from ..memo import Memo
from . import paths
from .disk import STEP_NS, Disk, mark_dirty
from .files import Files, Status
from .paths import RepositoryPaths

_LISTED: Final = 1_000_000  # names of tags that are remembered, of all repositories together


@dataclass(frozen=True, slots=True)
class Scan:
    """The texts of all tags by file, in a folder that was so; None: it had just changed."""

    folder: Status | None
    texts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Listing:
    time: tuple[int, int]
    tags: list[str]


def _sorted(files: Sequence[str]) -> list[str]:
    return sorted(map(paths.unescape_tag, files))


def _time(folder: Status) -> tuple[int, int]:
    """What is another one when names in the folder have changed, if it is settled."""
    return folder.inode, folder.modified_ns


class DirectoryTags:
    """`ports.store.Tags`, and the guard."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._files: Files = disk.files
        self._listings: Memo[str, _Listing] = Memo(_LISTED, lambda found: 1 + len(found.tags))

    async def get(self, name: str, tag: str) -> Digest | None:
        return await self._read(paths.repository(name), tag)

    async def _read(self, of: RepositoryPaths, tag: str) -> Digest | None:
        text = await self._files.readlink(of.tag(tag))
        return None if text is None else paths.read_short(text)

    async def ask(self, of: RepositoryPaths, tags: Sequence[str], guard: TagGuard) -> None:
        """Put the present of the tags to the guard; what it raises goes on.

        A tag whose manifest is gone counts as absent.  Only a guard that refuses makes it worth
        a look.
        """
        for tag in tags:
            current = await self._read(of, tag)
            try:
                guard(tag, current)
            except WasmholdError:
                if current is None or await self._files.readlink(of.manifest(current)) is not None:
                    raise
                guard(tag, None)

    async def point(
        self, of: RepositoryPaths, tags: Sequence[str], digest: Digest, guard: TagGuard
    ) -> None:
        """Point all tags at the manifest, or none; the repository's lock is held."""
        text = paths.write_short(digest)
        waiting: dict[str, str] = {}  # temporary name by tag
        try:
            for tag in tags:
                waiting[tag] = self._disk.tmp()
                await self._files.symlink(text, waiting[tag])
            async with self._disk.locked(of.tags_lock, exclusive=True):
                await self.ask(of, tags, guard)
                for tag in tags:
                    await self._files.rename(waiting[tag], of.tag(tag))
                    del waiting[tag]
        finally:
            for tmp in waiting.values():
                await self._files.unlink(tmp)
        await self._disk.sync(of.tags)

    async def delete(self, name: str, tag: str, guard: TagGuard) -> None:
        of = paths.repository(name)
        path = of.tag(tag)
        if await self._files.readlink(path) is None:
            raise ManifestUnknown(name, tag)
        with self._disk.writing(of):
            async with self._disk.locked(of.lock, exclusive=False):
                await mark_dirty(self._disk, of)
                async with self._disk.locked(of.tags_lock, exclusive=True):
                    await self.ask(of, [tag], guard)
                    if not await self._files.unlink(path):
                        raise ManifestUnknown(name, tag)
                await self._disk.sync(of.tags)

    async def scan(self, of: RepositoryPaths) -> Scan:
        """All tags, before the repository's lock is held."""
        folder = await self._files.stat(of.tags)
        return Scan(folder if self._is_settled(folder) else None, await self._files.texts(of.tags))

    async def scanned(self, of: RepositoryPaths, before: Scan) -> Mapping[str, str]:
        """The texts of all tags by file, now that the lock is held alone."""
        if before.folder is not None:
            folder = await self._files.stat(of.tags)
            if folder is not None and _time(folder) == _time(before.folder):
                return before.texts
        return await self._files.texts(of.tags)

    def _is_settled(self, folder: Status | None) -> bool:
        """Whether a later change of the folder will show in its time."""
        now_ns = self._disk.runtime.now() * 1e9
        return folder is not None and now_ns - folder.modified_ns >= STEP_NS

    # ---- lists

    async def page(self, name: str, after: str, limit: int) -> list[str] | None:
        of = paths.repository(name)
        tags = await self._list(of)
        if not tags:
            return [] if await self._files.has_names(of.manifests) else None
        start = bisect_right(tags, after)
        return tags[start : start + limit]

    async def _list(self, of: RepositoryPaths) -> list[str]:
        folder = await self._files.stat(of.tags)
        if folder is None:
            return []
        known = self._listings.get(of.name)
        if known is not None and known.time == _time(folder):
            return known.tags
        is_settled = self._is_settled(folder)
        files = await self._files.names(of.tags) or []
        tags = await self._disk.runtime.offload(_sorted, files)
        if is_settled:
            self._listings.put(of.name, _Listing(_time(folder), tags))
        else:
            self._listings.drop(of.name)
        return tags
