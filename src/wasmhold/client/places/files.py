"""Files of folders that anybody may have made: read without following links, written in one step.

What is not finished has a name of its own, ``.wasmhold-….part``, beside what it shall become, and
is locked as long as its writer lives.  So the next writer can remove what a dead one left.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import Final, NoReturn

from ...oci.errors import ContentDamaged, Denied, OutOfSpace, StoreUnavailable, WasmholdError
from ...ports.body import PIECE
from ...ports.runtime import Runtime

_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER: Final = _READ | os.O_DIRECTORY
_PREFIX: Final = ".wasmhold-"
_SUFFIX: Final = ".part"
_FOLDER_MODE: Final = 0o755  # less the umask
_FILE_MODE: Final = 0o644  # the same
_LOCK_PAUSE_S: Final = 0.005
_LOCK_TRIES: Final = 6000  # 30 seconds; an index is written in milliseconds
_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def _translate(error: OSError, path: str) -> NoReturn:
    said = f"{path}: {error.strerror or error}"
    if error.errno in _FULL:
        raise OutOfSpace(f"no space is left for {path}") from error
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        raise Denied(said) from error
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        raise ContentDamaged(f"{path} is a symbolic link, which is not followed") from error
    raise StoreUnavailable(said) from error


@contextmanager
def translated(path: str) -> Iterator[None]:
    """The one place where an OSError becomes an error of ours."""
    try:
        yield
    except OSError as error:
        _translate(error, path)


def write_all(descriptor: int, content: bytes | memoryview) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]


class FileBody:
    """Bytes `start` to `stop` (None: the end) of an open file; it owns the descriptor."""

    file = None

    def __init__(
        self, descriptor: int, start: int, stop: int | None, path: str, runtime: Runtime
    ) -> None:
        stop = os.fstat(descriptor).st_size if stop is None else stop
        self.size: int | None = stop - start
        self._descriptor: int | None = descriptor
        self._at, self._stop = start, stop
        self._path, self._runtime = path, runtime

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        descriptor, want = self._descriptor, min(PIECE, self._stop - self._at)
        if descriptor is None or want <= 0:
            raise StopAsyncIteration
        with translated(self._path):
            piece = await self._runtime.offload(os.pread, descriptor, want, self._at)
        if not piece:
            raise StopAsyncIteration  # shorter than it was: the reader counts, and sees it
        self._at += len(piece)
        return piece

    async def aclose(self) -> None:
        self.close()

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def let_go(body: FileBody | None) -> None:
    """Of whoever did not get it (`ports.runtime.obtained`)."""
    if body is not None:
        body.close()


class Folder:
    """A folder, with folders below it that are opened once; every name is relative, with ``/``."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._folders: dict[str, int] = {}

    def close(self) -> None:
        while self._folders:
            os.close(self._folders.popitem()[1])

    def _full(self, name: str) -> str:
        return f"{self.path}/{name}" if name else self.path

    def _folder(self, name: str) -> int | None:
        """The open folder; the one at the top may be a link, since the user named it."""
        found = self._folders.get(name)
        if found is not None:
            return found
        above, _, last = name.rpartition("/")
        with translated(self._full(name)):
            try:
                if not name:
                    opened = os.open(self.path, _FOLDER & ~os.O_NOFOLLOW)
                else:
                    at = self._folder(above)
                    if at is None:
                        return None
                    opened = os.open(last, _FOLDER, dir_fd=at)
            except FileNotFoundError:
                return None
        # Two threads may open it at once: the first one to come is kept.
        kept = self._folders.setdefault(name, opened)
        if kept != opened:
            os.close(opened)
        return kept

    def make(self, name: str = "") -> int:
        """The open folder, made where it is not there, as are those above it."""
        found = self._folder(name)
        if found is not None:
            return found
        above, _, last = name.rpartition("/")
        with translated(self._full(name)):
            if name:
                with suppress(FileExistsError):
                    os.mkdir(last, _FOLDER_MODE, dir_fd=self.make(above))
            else:
                os.makedirs(self.path, _FOLDER_MODE, exist_ok=True)
        made = self._folder(name)
        if made is None:
            raise StoreUnavailable(f"{self._full(name)} was removed while it was written to")
        return made

    def open(self, name: str, flags: int = _READ) -> int | None:
        """The descriptor of a regular file, None when it is not there.

        Raises ContentDamaged for anything else that has the name.
        """
        above, _, last = name.rpartition("/")
        folder = self._folder(above)
        if folder is None:
            return None
        with translated(self._full(name)):
            try:
                # Without waiting: a pipe that somebody has put there would be waited for.
                descriptor = os.open(last, flags | os.O_NONBLOCK, _FILE_MODE, dir_fd=folder)
            except FileNotFoundError:
                return None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise ContentDamaged(f"{self._full(name)} is no regular file")
        return descriptor

    def size(self, name: str) -> int | None:
        """Bytes of a file, None when it is not there."""
        descriptor = self.open(name)
        if descriptor is None:
            return None
        try:
            return os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)

    def read(self, name: str, limit: int) -> bytes | None:
        """A file that should be small.  Raises ContentDamaged when it has more than `limit`."""
        descriptor = self.open(name)
        if descriptor is None:
            return None
        with translated(self._full(name)), os.fdopen(descriptor, "rb") as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise ContentDamaged(f"{self._full(name)} has more than {limit} bytes")
        return content

    def identity(self, name: str) -> tuple[int, int, int] | None:
        """Equal as long as the file has not changed; None when it is not there."""
        descriptor = self.open(name)
        if descriptor is None:
            return None
        try:
            found = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        return found.st_ino, found.st_size, found.st_mtime_ns

    def names(self) -> list[str]:
        """What lies in it, without what is not finished."""
        folder = self._folder("")
        with translated(self.path):
            found = [] if folder is None else os.listdir(folder)
        return [name for name in found if not _is_part(name)]

    def listed(self, name: str) -> list[tuple[str, os.stat_result]]:
        """Name and status of all that lies in a folder below; empty when it is not there."""
        folder = self._folder(name)
        if folder is None:
            return []
        found = []
        with translated(self._full(name)):
            # Two threads that list one descriptor would share where they are in it.
            own = os.open(".", _FOLDER, dir_fd=folder)
            try:
                with os.scandir(own) as entries:
                    for entry in entries:
                        with suppress(FileNotFoundError):
                            found.append((entry.name, entry.stat(follow_symlinks=False)))
            finally:
                os.close(own)
        return found

    def rename(self, name: str, to: str) -> None:
        """Give a file another name, in one step, instead of what had it; folders are made."""
        folder, last = self._parent(name)
        above, name_there = self._parent(to)
        with translated(self._full(to)):
            os.replace(last, name_there, src_dir_fd=folder, dst_dir_fd=above)

    def _parent(self, name: str) -> tuple[int, str]:
        """The open folder that a file lies in, made where it is not there, and its last name."""
        above, _, last = name.rpartition("/")
        return self.make(above), last

    def unlink(self, name: str) -> bool:
        """False when it was not there."""
        above, _, last = name.rpartition("/")
        folder = self._folder(above)
        with translated(self._full(name)):
            try:
                if folder is not None:
                    os.unlink(last, dir_fd=folder)
                    return True
            except FileNotFoundError:
                pass
        return False

    def sync(self, *names: str) -> None:
        """Make names in these folders outlast a power loss."""
        for name in names:
            folder = self._folder(name)
            if folder is not None:
                with translated(self._full(name)):
                    os.fsync(folder)

    def stage(self, mode: int = _FILE_MODE) -> Staged:
        """A new file that nobody sees, of `mode` less the umask; who has it closes it."""
        folder = self.make()
        while True:
            name = f"{_PREFIX}{os.urandom(16).hex()}{_SUFFIX}"
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with translated(self._full(name)):
                descriptor = os.open(name, flags, mode, dir_fd=folder)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                # Before we had the lock somebody may have taken it for what a dead writer left.
                if os.fstat(descriptor).st_nlink:
                    return Staged(self, name, descriptor)
            os.close(descriptor)

    def write(self, name: str, content: bytes) -> None:
        """A small file, or its new content, in one step; its folder is synced too."""
        staged = self.stage()
        try:
            staged.write(content)
            staged.place(name)
        finally:
            staged.close()
        self.sync(name.rpartition("/")[0])

    def create(self, name: str, content: bytes) -> None:
        """A small file, unless there is one: who was faster keeps his, and its lock."""
        staged = self.stage()
        try:
            staged.write(content)
            staged.add(name)
        finally:
            staged.close()
        self.sync(name.rpartition("/")[0])

    def sweep(self) -> None:
        """Remove what writers that died have left."""
        folder = self._folder("")
        if folder is None:
            return
        with translated(self.path):
            parts = [name for name in os.listdir(folder) if _is_part(name)]
        for name in parts:
            with suppress(WasmholdError, OSError):
                descriptor = self.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
                if descriptor is None:
                    continue
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    self.unlink(name)
                finally:
                    os.close(descriptor)

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold the lock of a file that is there, alone among all processes.

        Raises StoreUnavailable when somebody else holds it for too long.
        """
        for _ in range(_LOCK_TRIES):
            descriptor = self.open(name)
            if descriptor is None:
                raise StoreUnavailable(f"{self._full(name)} was removed while it was written to")
            try:
                with translated(self._full(name)):
                    if try_lock(descriptor) and self.is_at(name, descriptor):
                        break
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
            time.sleep(_LOCK_PAUSE_S)
        else:
            raise StoreUnavailable(f"somebody else holds the lock of {self._full(name)}")
        try:
            yield
        finally:
            os.close(descriptor)

    def is_at(self, name: str, descriptor: int) -> bool:
        """Whether the open file still has the name: others lock the one that came after it."""
        above, _, last = name.rpartition("/")
        try:
            found = os.stat(last, dir_fd=self._folder(above), follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(found, os.fstat(descriptor))


def _is_part(name: str) -> bool:
    return name.startswith(_PREFIX) and name.endswith(_SUFFIX)


def try_lock(descriptor: int) -> bool:
    """Lock an open file alone; False when somebody else has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Staged:
    """A file on its way."""

    def __init__(self, folder: Folder, name: str, descriptor: int) -> None:
        self.descriptor = descriptor
        self._folder, self._name = folder, name
        self._is_placed = False

    def write(self, content: bytes | memoryview) -> None:
        with translated(self._folder.path):
            write_all(self.descriptor, content)

    def place(self, name: str, *, durable: bool = True) -> None:
        """Its bytes become durable, then the file `name`, instead of what was there."""
        if durable:
            with translated(f"{self._folder.path}/{name}"):
                os.fsync(self.descriptor)
        self._folder.rename(self._name, name)
        self._is_placed = True

    def add(self, name: str) -> None:
        """The same, where nothing has the name yet."""
        above, _, last = name.rpartition("/")
        folder, top = self._folder.make(above), self._folder.make()
        with translated(f"{self._folder.path}/{name}"):
            os.fsync(self.descriptor)
            with suppress(FileExistsError):
                os.link(self._name, last, src_dir_fd=top, dst_dir_fd=folder)

    def close(self) -> None:
        """Without `place` nothing is left of its first name."""
        if not self._is_placed:
            with suppress(WasmholdError):
                self._folder.unlink(self._name)
        os.close(self.descriptor)
