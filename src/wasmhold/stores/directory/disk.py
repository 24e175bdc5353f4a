"""What all nouns of the directory store share: durable folders, locks, temporary names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final

from ...oci.digest import Digest, hasher
from ...oci.errors import StoreUnavailable
from ...oci.layout import LAYOUT
from ...ports.runtime import Gate, Randomness, Runtime
from ..memo import Memo
from ..pieces import feed
from . import paths
from .files import Absent, Exists, Files, Status
from .paths import RepositoryPaths

_FOLDERS: Final = 64 * 1024  # that are known to be there
_DURABLE: Final = 64 * 1024  # texts that are known to be synced
_VERIFIED: Final = 256 * 1024  # files that are known to hash to their digest

# The kernel's clock for times of files goes in steps: within one, two changes look like one.
STEP_NS: Final = 20_000_000


@dataclass(slots=True)
class _Line:
    """The syncs of one folder, by number."""

    begun: int = 0
    done: int = 0
    failed: int = 0
    users: int = 0
    running: Gate | None = None


class Disk:
    """The files, and what one process knows of them.

    `tmp` is the folder of this process for what is not finished.
    """

    def __init__(self, files: Files, runtime: Runtime, randomness: Randomness, tmp: str) -> None:
        self.files = files
        self.runtime = runtime
        self._randomness = randomness
        self._tmp = tmp
        self._lines: dict[str, _Line] = {}
        self._folders: Memo[str, bool] = Memo(_FOLDERS)
        self._durable: Memo[str, tuple[int, int]] = Memo(_DURABLE)
        self._verified: Memo[Digest, tuple[int, int, int]] = Memo(_VERIFIED)

    def nonce(self) -> str:
        return self._randomness.token(16).hex()

    def tmp(self) -> str:
        """A name that nobody has used."""
        return f"{self._tmp}/{self.nonce()}"

    # ---- folders

    async def sync(self, *folders: str) -> None:
        """Make the names in these folders outlast a power loss.

        A sync serves every change that was made before it began.  So one runs at a time, and who
        comes meanwhile waits for the next one, which serves all who wait.
        """
        if len(folders) == 1:
            await self._sync(folders[0])
        else:
            await self.runtime.map(self._sync, sorted(set(folders)), len(folders))

    async def _sync(self, folder: str) -> None:
        line = self._lines.setdefault(folder, _Line())
        line.users += 1
        wanted = line.begun + 1
        try:
            while line.done < wanted:
                if line.failed >= wanted:
                    raise StoreUnavailable(f"{folder} could not be synced")
                if line.running is None:
                    await self._run(line, folder)
                else:
                    await line.running.wait()
        finally:
            line.users -= 1
            if not line.users:
                self._lines.pop(folder, None)

    async def _run(self, line: _Line, folder: str) -> None:
        line.begun += 1
        number, gate = line.begun, self.runtime.gate()
        line.running = gate
        try:
            await self.files.sync_folder(folder)
            line.done = number
        except Exception:
            # A second try may succeed although what this one had to write is lost.
            line.failed = number
            raise
        finally:  # also when we are cancelled: then somebody else runs it anew
            line.running = None
            gate.open()

    async def make_folder(self, folder: str, *, durable: bool = True) -> None:
        """Make a folder, and those above it, that this process has not seen yet.

        Another process may have made it and not have synced it, so the first one to use it in
        each process syncs the folders above.
        """
        await self.make_folders(folder, durable=durable)

    async def make_folders(self, *folders: str, durable: bool = True) -> None:
        missing = [f for f in folders if self._folders.get(f) is None]
        if not missing:
            return
        todo: dict[str, None] = {}
        for folder in missing:
            parts = folder.split("/")
            for depth in range(1, len(parts) + 1):
                above = "/".join(parts[:depth])
                if self._folders.get(above) is None:
                    todo[above] = None
        for folder in todo:
            await self.files.make_folder(folder)
        if durable:
            await self.sync(*(_above(folder) for folder in todo))
        for folder in todo:
            self._folders.put(folder, True)

    def forget_folder(self, folder: str) -> None:
        self._folders.drop(folder)

    async def make_repository(self, of: RepositoryPaths, algorithm: str) -> None:
        """Make an image layout for blobs of `algorithm`, and our files beside it."""
        blobs = of.blobs_of(algorithm)
        if self._folders.get(blobs) is not None and self._folders.get(of.meta) is not None:
            return
        await self.make_folders(of.meta)
        for lock in (of.lock, of.tags_lock):
            with _exists_already():
                await self.files.create(lock, b"")
        await self.make_folders(of.tags, of.manifests, of.referrers)
        if await self.files.stat(of.layout) is None:
            await self.put(LAYOUT, of.layout)
        await self.make_folders(blobs)

    @contextmanager
    def writing(self, of: RepositoryPaths) -> Iterator[None]:
        """Say in our words that a folder is not there that was there before."""
        try:
            yield
        except Absent as error:
            self._folders = Memo(_FOLDERS)
            raise StoreUnavailable(
                f"files of {of.name} went away while they were in use: try again"
            ) from error

    # ---- files

    async def put(self, content: bytes, path: str) -> None:
        """Write a small file: whoever sees the name sees all bytes, also after a power loss.

        One that is there stays.
        """
        tmp = self.tmp()
        try:
            await self.files.create(tmp, content)
            await self.files.sync(tmp)
            with _exists_already():
                await self.files.link(tmp, path)
        finally:
            await self.files.unlink(tmp)

    async def note(self, text: str, path: str) -> None:
        """Have this text at `path`, in one step."""
        try:
            await self.files.symlink(text, path)
        except Exists:
            if await self.files.readlink(path) != text:
                tmp = self.tmp()
                await self.files.symlink(text, tmp)
                await self.files.rename(tmp, path)

    async def replace(self, source: str, path: str) -> None:
        """Make `path` a name of the file `source`, whatever it was before."""
        tmp = self.tmp()
        await self.files.link(source, tmp)
        try:
            await self.files.rename(tmp, path)
        finally:
            await self.files.unlink(tmp)

    async def is_durable(self, path: str) -> bool:
        """Whether the text at `path` is the very one of `note_durable`."""
        found = await self.files.stat(path)
        return found is not None and self._durable.get(path) == (found.inode, found.changed_ns)

    async def note_durable(self, path: str) -> None:
        """Remember that the text and all that it refers to are synced.

        One that is made later in its place has another time, if this one is old enough.
        """
        found = await self.files.stat(path)
        if found is not None and self.runtime.now() * 1e9 - found.changed_ns >= STEP_NS:
            self._durable.put(path, (found.inode, found.changed_ns))

    # ---- locks

    @asynccontextmanager
    async def locked(self, path: str, *, exclusive: bool) -> AsyncIterator[None]:
        """Hold a lock.  Raises Absent when its file is not there."""
        held = await self.files.lock(path, exclusive=exclusive)
        if held is None:
            raise Absent(path)
        try:
            yield
        finally:
            await self.files.unlock(held)

    # ---- what hashes to its digest

    def is_verified(self, digest: Digest, found: Status) -> bool:
        return self._verified.get(digest) == _identity(found)

    def verified(self, digest: Digest, found: Status | None) -> None:
        """This process has hashed the file, or written it."""
        if found is not None:
            self._verified.put(digest, _identity(found))

    async def verify(self, digest: Digest, path: str) -> bool:
        """Whether the file is what it should be; read once, then remembered."""
        found = await self.files.stat(path)
        if found is None:
            return False
        if self.is_verified(digest, found):
            return True
        if await self.hash(path, digest.algorithm) != digest:
            return False
        after = await self.files.stat(path)
        if after is not None and _identity(after) == _identity(found):  # what was hashed
            self.verified(digest, found)
        return True

    async def hash(self, path: str, algorithm: str) -> Digest | None:
        body = await self.files.open_body(path, 0, None)
        if body is None:
            return None
        try:
            running = hasher(algorithm)
            async for piece in body:
                await feed(running, self.runtime, piece)
            return Digest(algorithm, running.hexdigest())
        finally:
            await body.aclose()


def _identity(found: Status) -> tuple[int, int, int]:
    return found.inode, found.size, found.modified_ns


def _above(folder: str) -> str:
    return folder.rpartition("/")[0] or "."


@contextmanager
def _exists_already() -> Iterator[None]:
    try:
        yield
    except Exists:
        pass


async def mark_dirty(disk: Disk, of: RepositoryPaths) -> None:
    """Say that ``index.json`` is behind, before tags or manifests change.

    The repository's lock is held by the caller, shared or alone, from here until the change is
    made.  So whoever writes the index takes the mark away under the exclusive lock, and only then
    reads: a mark that comes later belongs to a change that comes later.
    """
    with _exists_already():
        await disk.files.symlink("behind", paths.dirty(of.name))
