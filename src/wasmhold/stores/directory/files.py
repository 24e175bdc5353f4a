"""What the directory store needs from a file system: small calls, each of one file or folder.

Paths are relative to the root, with ``/``, and never come from outside unchecked.  Nothing follows
a symbolic link at the end of a path.  What is not there is an answer (None, False) where a call can
say it, else Absent.

Every call may raise StoreUnavailable (an input or output error: what a write did is not known) and,
when it writes, OutOfSpace.  A power loss keeps of a file what was there at its last `sync`, and of
a folder's changes since its last `sync_folder` any of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, NewType, Protocol

from ...oci.digest import Hasher
from ...ports.body import Body


class FilesError(Exception):
    """What a call says of one path; the store decides what it means, and nobody else hears it."""


class Exists(FilesError):
    """There is something with this name."""


class Absent(FilesError):
    """There is no such file, or a folder on its path is missing."""


class TooManyLinks(FilesError):
    """The file system gives this file no further name."""


class Status(NamedTuple):
    inode: int
    size: int  # bytes
    links: int  # names of this file
    modified_ns: int  # nanoseconds since 1970; its content, or the names of a folder, changed
    changed_ns: int  # the same; it, or its number of names, changed


Held = NewType("Held", int)  # a lock that is held


class Writer(Protocol):
    """A file that is open for writing at its end; whoever opened it closes it."""

    async def write(self, *chunks: bytes, hasher: Hasher | None = None) -> None:
        """All of them, one behind the other; `hasher` is fed before each."""
        ...

    async def truncate(self, size: int) -> None:
        """Cut the file to `size` bytes; the next write comes behind them."""
        ...

    def close(self) -> None: ...


class Files(Protocol):
    # ---- reading

    async def stat(self, path: str) -> Status | None: ...

    async def readlink(self, path: str) -> str | None:
        """The short text that `symlink` wrote."""
        ...

    async def read(self, path: str) -> bytes | None:
        """A file that is known to be small."""
        ...

    async def open_body(self, path: str, start: int, stop: int | None) -> Body | None:
        """Bytes `start` to `stop` (one past the last; None: to the end); the caller closes it.

        The bytes can be read to their end whatever becomes of the name.
        """
        ...

    async def free_space(self) -> tuple[int, int] | None:
        """Bytes that we may still write, and all there are; None where the host cannot tell."""
        ...

    async def names(self, folder: str) -> list[str] | None:
        """Names in a folder, in no order.  What comes or goes meanwhile may be among them."""
        ...

    async def texts(self, folder: str) -> Mapping[str, str]:
        """Names in a folder, each with the text that `readlink` gives; empty for no folder."""
        ...

    async def has_names(self, folder: str) -> bool: ...

    # ---- writing

    async def make_folder(self, path: str) -> None:
        """No error when it is there.  Raises Absent when the folder above is not."""
        ...

    async def remove_folder(self, path: str) -> bool:
        """False when it is not empty, or not there."""
        ...

    async def create(self, path: str, content: bytes) -> None:
        """Write a new file.  Raises Exists, Absent.  When it breaks, half a file may be there."""
        ...

    async def overwrite(self, path: str, content: bytes) -> None:
        """Write a small file in place, or make it.  Raises Absent."""
        ...

    async def open_write(self, path: str) -> Writer:
        """Append to a file, or make it.  Raises Absent."""
        ...

    async def copy(self, path: str, to: str) -> None:
        """Copy a file to a new name.  Raises Exists, Absent."""
        ...

    async def touch(self, path: str) -> None:
        """Make `changed_ns` now and leave the rest.  No error when it is not there."""
        ...

    async def link(self, path: str, to: str) -> None:
        """Give the file a further name.  Raises Exists, Absent, TooManyLinks."""
        ...

    async def symlink(self, text: str, path: str) -> None:
        """Write a short text under a new name, in one step.  Raises Exists, Absent."""
        ...

    async def rename(self, path: str, to: str) -> None:
        """Replace whatever is at `to`, in one step.  Raises Absent.

        When both are names of one file, both stay.
        """
        ...

    async def unlink(self, path: str) -> bool:
        """False when it was not there."""
        ...

    # ---- what outlasts a power loss

    async def sync(self, path: str) -> None:
        """The bytes of a file.  Raises Absent."""
        ...

    async def sync_folder(self, path: str) -> None:
        """The names in a folder, as they are when this begins.  Raises Absent."""
        ...

    # ---- locks, which end with the process

    async def lock(self, path: str, *, exclusive: bool, wait: bool = True) -> Held | None:
        """Lock a file that is there; None when it is not, or, without `wait`, is locked.

        Also between operations of one process.  Whoever waits for an exclusive lock is not
        overtaken for ever by others who share it.
        """
        ...

    async def unlock(self, held: Held) -> None: ...
