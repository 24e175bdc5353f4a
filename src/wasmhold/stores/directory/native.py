"""`Files` by the operating system's own calls.

Every path is resolved from the root's descriptor, so that it does not matter what becomes of the
current directory.  What may block goes through `Runtime.offload`.  Locks are a capability of their
own: a guest has none.
"""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, NoReturn, Protocol, TypeVar

from ...oci.digest import Hasher
from ...oci.errors import OutOfSpace, StoreUnavailable
from ...oci.limits import KIB
from ...ports.body import Body, FileRange
from ...ports.runtime import Runtime
from .files import Absent, Exists, Held, Status, TooManyLinks, Writer

R = TypeVar("R")

FOLDER_MODE: Final = 0o755  # less the umask
FILE_MODE: Final = 0o644  # the same

_PIECE: Final = 256 * KIB  # bytes that are read at once
_OFFLOAD: Final = 64 * KIB  # writing less into the page cache is done before somebody else could
_LOCK_PAUSE_S: Final = 0.0005  # then twice that, and so on
_LOCK_PAUSE_MAX_S: Final = 0.02

_NOFOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
_CLOEXEC: Final = getattr(os, "O_CLOEXEC", 0)
# Without waiting: a pipe that somebody has put there would be waited for.
_READ: Final = os.O_RDONLY | _NOFOLLOW | _CLOEXEC | getattr(os, "O_NONBLOCK", 0)
_ABSENT: Final = (FileNotFoundError, NotADirectoryError)
_FULL: Final = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
# No symbolic links here, or no links at all: then a text is a file.
_NO_SYMLINKS: Final = {
    errno.EPERM,
    getattr(errno, "EOPNOTSUPP", errno.EPERM),
    getattr(errno, "ENOTSUP", errno.EPERM),
    errno.ENOSYS,
}


class Locks(Protocol):
    """``flock`` without waiting; False when somebody else holds it."""

    def __call__(self, descriptor: int, exclusive: bool) -> bool: ...


def no_locks(descriptor: int, exclusive: bool) -> bool:
    """For a host that has none, and nobody else on the directory."""
    return True


def _translate(error: OSError, path: str) -> NoReturn:
    """The one place where an OSError becomes an error of ours."""
    if error.errno in _FULL:
        raise OutOfSpace(f"no space is left for {path}") from error
    raise StoreUnavailable(f"{path}: {error.strerror or error}") from error


@contextmanager
def _translated(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        _translate(error, path)


class NativeFiles:
    """The files below `root`, a folder that is there.

    Without `durable` the syncs are left out: what is written outlasts the process, not the power.
    """

    def __init__(
        self, root: str, runtime: Runtime, *, locks: Locks = no_locks, durable: bool = True
    ) -> None:
        """Raises StoreUnavailable when the root cannot be opened."""
        self._runtime = runtime
        self._locks = locks
        self._durable = durable
        self._symlinks = True  # until the file system refuses one
        with _translated(root):
            self._root = os.open(root, os.O_RDONLY | _CLOEXEC)

    def close(self) -> None:
        os.close(self._root)

    # ---- reading

    async def stat(self, path: str) -> Status | None:
        try:
            return _status(os.stat(path, dir_fd=self._root, follow_symlinks=False))
        except _ABSENT:
            return None
        except OSError as error:
            _translate(error, path)

    async def readlink(self, path: str) -> str | None:
        try:
            return self._text(path)
        except OSError as error:
            _translate(error, path)

    def _text(self, path: str, folder: int | None = None) -> str | None:
        folder = self._root if folder is None else folder
        try:
            return os.readlink(path, dir_fd=folder)
        except _ABSENT:
            return None
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        content = self._content(path, folder)  # written where there are no symbolic links
        return None if content is None else content.decode("utf-8", "replace")

    async def read(self, path: str) -> bytes | None:
        try:
            return self._content(path, self._root)
        except OSError as error:
            _translate(error, path)

    def _content(self, path: str, folder: int) -> bytes | None:
        try:
            descriptor = os.open(path, _READ, dir_fd=folder)
        except _ABSENT:
            return None
        try:
            size = os.fstat(descriptor).st_size
            content = os.read(descriptor, size)
            while len(content) < size:
                more = os.read(descriptor, size - len(content))
                if not more:
                    break
                content += more
            return content
        finally:
            os.close(descriptor)

    async def open_body(self, path: str, start: int, stop: int | None) -> Body | None:
        try:
            descriptor = os.open(path, _READ, dir_fd=self._root)
            if stop is None:
                stop = os.fstat(descriptor).st_size
        except _ABSENT:
            return None
        except OSError as error:
            _translate(error, path)
        return FileBody(FileRange(descriptor, start, stop), path, self._runtime)

    async def free_space(self) -> tuple[int, int] | None:
        if not hasattr(os, "fstatvfs"):  # a guest has none
            return None
        with _translated("the root"):
            found = os.fstatvfs(self._root)
        return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize

    async def names(self, folder: str) -> list[str] | None:
        return await self._offload(folder, self._names, folder)

    def _names(self, folder: str) -> list[str] | None:
        try:
            descriptor = os.open(folder, _READ, dir_fd=self._root)
        except _ABSENT:
            return None
        try:
            return os.listdir(descriptor)
        except NotADirectoryError:
            return None
        finally:
            os.close(descriptor)

    async def texts(self, folder: str) -> Mapping[str, str]:
        return await self._offload(folder, self._texts, folder)

    def _texts(self, folder: str) -> dict[str, str]:
        try:
            descriptor = os.open(folder, _READ, dir_fd=self._root)
        except _ABSENT:
            return {}
        try:
            found = {name: self._text(name, descriptor) for name in os.listdir(descriptor)}
            return {name: text for name, text in found.items() if text is not None}
        finally:
            os.close(descriptor)

    async def has_names(self, folder: str) -> bool:
        try:
            descriptor = os.open(folder, _READ, dir_fd=self._root)
        except _ABSENT:
            return False
        except OSError as error:
            _translate(error, folder)
        try:
            with os.scandir(descriptor) as entries:
                return next(entries, None) is not None
        except NotADirectoryError:
            return False
        except OSError as error:
            _translate(error, folder)
        finally:
            os.close(descriptor)

    # ---- writing

    async def make_folder(self, path: str) -> None:
        try:
            os.mkdir(path, FOLDER_MODE, dir_fd=self._root)
        except FileExistsError:
            return
        except _ABSENT:
            raise Absent(path) from None
        except OSError as error:
            _translate(error, path)

    async def remove_folder(self, path: str) -> bool:
        try:
            os.rmdir(path, dir_fd=self._root)
        except _ABSENT:
            return False
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return False
            _translate(error, path)
        return True

    async def create(self, path: str, content: bytes) -> None:
        writer = self._open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            await writer.write(content)
        finally:
            writer.close()

    async def overwrite(self, path: str, content: bytes) -> None:
        # Not by O_TRUNC: ext4 would write a file that is cut and closed to the disk at once.
        writer = self._open(path, os.O_WRONLY | os.O_CREAT)
        try:
            await writer.write(content)
            with _translated(path):
                if os.fstat(writer.descriptor).st_size > len(content):
                    os.ftruncate(writer.descriptor, len(content))
        finally:
            writer.close()

    async def open_write(self, path: str) -> Writer:
        return self._open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def _open(self, path: str, flags: int) -> NativeWriter:
        try:
            descriptor = os.open(path, flags | _NOFOLLOW | _CLOEXEC, FILE_MODE, dir_fd=self._root)
        except FileExistsError:
            raise Exists(path) from None
        except _ABSENT:
            raise Absent(path) from None
        except OSError as error:
            _translate(error, path)
        return NativeWriter(descriptor, path, self._runtime)

    async def copy(self, path: str, to: str) -> None:
        body = await self.open_body(path, 0, None)
        if body is None:
            raise Absent(path)
        try:
            writer = self._open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            try:
                async for piece in body:
                    await writer.write(piece)
            finally:
                writer.close()
        finally:
            await body.aclose()

    async def touch(self, path: str) -> None:
        try:
            found = os.stat(path, dir_fd=self._root, follow_symlinks=False)
            times = (found.st_atime_ns, found.st_mtime_ns)
            os.utime(path, ns=times, dir_fd=self._root, follow_symlinks=False)
        except _ABSENT:
            return
        except OSError as error:
            _translate(error, path)

    async def link(self, path: str, to: str) -> None:
        try:
            os.link(path, to, src_dir_fd=self._root, dst_dir_fd=self._root, follow_symlinks=False)
        except FileExistsError:
            raise Exists(to) from None
        except _ABSENT:
            raise Absent(path) from None
        except OSError as error:
            if error.errno == errno.EMLINK:
                raise TooManyLinks(path) from None
            _translate(error, to)

    async def symlink(self, text: str, path: str) -> None:
        if self._symlinks:
            try:
                os.symlink(text, path, dir_fd=self._root)
                return
            except FileExistsError:
                raise Exists(path) from None
            except _ABSENT:
                raise Absent(path) from None
            except OSError as error:
                if error.errno not in _NO_SYMLINKS:
                    _translate(error, path)
            self._symlinks = False
        # The name must not be seen before its text.
        beside = f"{path}.{os.urandom(8).hex()}"
        await self.create(beside, text.encode())
        try:
            await self.sync(beside)
            await self.link(beside, path)
        finally:
            await self.unlink(beside)

    async def rename(self, path: str, to: str) -> None:
        try:
            os.replace(path, to, src_dir_fd=self._root, dst_dir_fd=self._root)
        except _ABSENT:
            raise Absent(path) from None
        except OSError as error:
            _translate(error, to)

    async def unlink(self, path: str) -> bool:
        try:
            os.unlink(path, dir_fd=self._root)
        except _ABSENT:
            return False
        except OSError as error:
            _translate(error, path)
        return True

    # ---- what outlasts a power loss

    async def sync(self, path: str) -> None:
        if self._durable:
            await self._offload(path, self._sync, path)

    async def sync_folder(self, path: str) -> None:
        if self._durable:
            await self._offload(path, self._sync, path or ".")

    def _sync(self, path: str) -> None:
        try:
            descriptor = os.open(path, _READ, dir_fd=self._root)
        except _ABSENT:
            raise Absent(path) from None
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    async def _offload(self, path: str, function: Callable[..., R], /, *arguments: object) -> R:
        try:
            return await self._runtime.offload(function, *arguments)
        except OSError as error:
            _translate(error, path)

    # ---- locks

    async def lock(self, path: str, *, exclusive: bool, wait: bool = True) -> Held | None:
        # Tried again and again and never waited for: a thread that waits could be the one that
        # the holder needs for its sync.
        pause_s = _LOCK_PAUSE_S
        queued: int | None = None
        try:
            while True:
                if exclusive or self._nobody_queues(path):
                    descriptor = self._open_lock(path)
                    if descriptor is None:
                        return None
                    if self._take(path, descriptor, exclusive):
                        return Held(descriptor)
                if not wait:
                    return None
                if exclusive and queued is None:
                    queued = self._enter_queue(path)
                await self._runtime.sleep(pause_s)
                pause_s = min(2 * pause_s, _LOCK_PAUSE_MAX_S)
        finally:
            if queued is not None:
                os.close(queued)

    def _take(self, path: str, descriptor: int, exclusive: bool) -> bool:
        """Lock the open file, or close it."""
        got = False
        try:
            # A file that was removed meanwhile is no lock: others lock the one that came after.
            got = self._locks(descriptor, exclusive) and os.fstat(descriptor).st_nlink > 0
        except OSError as error:
            _translate(error, path)
        finally:
            if not got:
                os.close(descriptor)
        return got

    def _open_lock(self, path: str) -> int | None:
        try:
            return os.open(path, os.O_RDWR | _NOFOLLOW | _CLOEXEC, dir_fd=self._root)
        except _ABSENT:
            return None
        except OSError as error:
            _translate(error, path)

    def _nobody_queues(self, path: str) -> bool:
        """Whether nobody waits for the exclusive lock; the file is there once somebody did."""
        queue = self._open_lock(f"{path}.queue")
        if queue is None:
            return True
        free = self._take(path, queue, exclusive=False)
        if free:
            os.close(queue)
        return free

    def _enter_queue(self, path: str) -> int | None:
        queue = self._open(f"{path}.queue", os.O_RDWR | os.O_CREAT).descriptor
        return queue if self._take(path, queue, exclusive=True) else None

    async def unlock(self, held: Held) -> None:
        os.close(held)


def _status(found: os.stat_result) -> Status:
    return Status(found.st_ino, found.st_size, found.st_nlink, found.st_mtime_ns, found.st_ctime_ns)


class NativeWriter:
    """`Writer` over a descriptor."""

    def __init__(self, descriptor: int, path: str, runtime: Runtime) -> None:
        self.descriptor = descriptor
        self._path = path
        self._runtime = runtime

    async def write(self, *chunks: bytes, hasher: Hasher | None = None) -> None:
        try:
            if sum(map(len, chunks)) < _OFFLOAD:
                self._write_all(chunks, hasher)
            else:
                # One way for both: going to a thread and back costs as much as hashing 100 KiB.
                await self._runtime.offload(self._write_all, chunks, hasher)
        except OSError as error:
            _translate(error, self._path)

    def _write_all(self, chunks: tuple[bytes, ...], hasher: Hasher | None) -> None:
        for chunk in chunks:
            if hasher is not None:
                hasher.update(chunk)
            left = memoryview(chunk)
            while left:
                left = left[os.write(self.descriptor, left) :]

    async def truncate(self, size: int) -> None:
        with _translated(self._path):
            os.ftruncate(self.descriptor, size)

    def close(self) -> None:
        os.close(self.descriptor)


class FileBody:
    """A range of an open file, as a Body; the descriptor is closed with it."""

    def __init__(self, file: FileRange, path: str, runtime: Runtime) -> None:
        self.size: int | None = file.stop - file.start
        self.file: FileRange | None = file
        self._path = path
        self._runtime = runtime
        self._at = file.start

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        file = self.file
        if file is None or self._at >= file.stop:
            raise StopAsyncIteration
        want = min(_PIECE, file.stop - self._at)
        try:
            if want < _OFFLOAD:
                piece = os.pread(file.descriptor, want, self._at)
            else:
                piece = await self._runtime.offload(os.pread, file.descriptor, want, self._at)
        except OSError as error:
            _translate(error, self._path)
        if not piece:
            raise StopAsyncIteration  # shorter than it was: the reader counts, and sees it
        self._at += len(piece)
        return piece

    async def aclose(self) -> None:
        file, self.file = self.file, None
        if file is not None:
            os.close(file.descriptor)
