"""A tree that appears whole or not at all.

It grows in a folder beside the one that it shall become, ``.wasmhold-….tree``, which is locked as
long as its writer lives, so that the next one removes what a dead one left.  A folder that is there
already is copied first, by hard links, and then the two change places in one step.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from ...client.places.files import translated
from ...oci.errors import ArtifactInvalid, Unsupported
from .tree import FOLDER_FLAGS, Budget, Tree

_PREFIX: Final = b".wasmhold-"
_SUFFIX: Final = b".tree"
_NAME: Final = re.compile(re.escape(_PREFIX) + rb"[0-9a-f]{32}" + re.escape(_SUFFIX))
_MODE: Final = 0o755
_AT_FDCWD: Final = -100  # as in <fcntl.h>: paths are what they are
_RENAME_EXCHANGE: Final = 2  # as in <linux/fs.h>
_DEEP: Final = 1 << 20  # levels; what is there already may be as deep as it is


def is_there(root: str) -> bool:
    """Whether the folder has content.  Raises ArtifactInvalid for what is no folder."""
    with translated(root):
        try:
            with os.scandir(root) as found:
                return next(found, None) is not None
        except FileNotFoundError:
            return False
        except NotADirectoryError:
            raise ArtifactInvalid(f"{root} is no folder: name one, or a new one") from None


@contextmanager
def in_place(root: str) -> Iterator[int]:
    """The open folder `root`, made where it is missing.

    What was empty before is empty again when the block raises.
    """
    was_empty = not is_there(root)
    with translated(root):
        with suppress(FileExistsError):
            os.mkdir(root, _MODE)
        # The user may name a link.
        descriptor = os.open(root, FOLDER_FLAGS & ~os.O_NOFOLLOW)
        before = os.fstat(descriptor)
    try:
        yield descriptor
    except BaseException:
        if was_empty:
            with translated(root):
                if os.fstat(descriptor).st_mode != before.st_mode:
                    os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
                _remove(descriptor, *map(os.fsencode, os.listdir(descriptor)))
                os.utime(descriptor, ns=(before.st_atime_ns, before.st_mtime_ns))
        raise
    finally:
        os.close(descriptor)


@contextmanager
def beside(root: str) -> Iterator[int]:
    """An open folder that becomes `root` at the end of the block, and is gone when that raises.

    Raises ArtifactInvalid where there is no folder to put it into.
    """
    path = os.fsencode(os.path.realpath(root))
    where = os.path.dirname(path)
    try:
        above = os.open(where, FOLDER_FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        at = os.fsdecode(where)
        raise ArtifactInvalid(f"cannot make {root}: there is no folder {at}") from None
    try:
        with translated(root):
            _sweep(above)
            staged, descriptor = _begun(above)
        try:
            with translated(root):
                had_content = is_there(root)
                if had_content:
                    _copy(path, descriptor)
                else:
                    os.fchmod(descriptor, _MODE)
                    os.utime(descriptor, (0, 0))
            yield descriptor
            with translated(root):
                (_exchange if had_content else os.rename)(os.path.join(where, staged), path)
        finally:
            with translated(root):
                _remove(above, staged)
            os.close(descriptor)
    finally:
        os.close(above)


def _begun(above: int) -> tuple[bytes, int]:
    """The name of a new folder, open and locked."""
    while True:
        name = _PREFIX + os.urandom(16).hex().encode() + _SUFFIX
        os.mkdir(name, 0o700, dir_fd=above)
        # Before we have the lock somebody may take it for what a dead writer left.
        with suppress(FileNotFoundError):
            descriptor = os.open(name, FOLDER_FLAGS, dir_fd=above)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                os.stat(name, dir_fd=above, follow_symlinks=False)
            except BaseException:
                os.close(descriptor)
                raise
            return name, descriptor


def _exchange(one: bytes, other: bytes) -> None:
    """Both have each other's place, in one step.  Raises Unsupported."""
    exchange = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if exchange is None or exchange(_AT_FDCWD, one, _AT_FDCWD, other, _RENAME_EXCHANGE):
        raise Unsupported(
            f"two folders cannot change places here: unpack {os.fsdecode(other)} without atomic, "
            "or into a new folder"
        )


def _sweep(above: int) -> None:
    """Remove what writers that died have left."""
    for name in map(os.fsencode, os.listdir(above)):
        if _NAME.fullmatch(name) is None:
            continue
        with suppress(OSError):
            left = os.open(name, FOLDER_FLAGS, dir_fd=above)
            try:
                fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(above, name)
            finally:
                os.close(left)


def _remove(above: int, *names: bytes) -> None:
    tree = Tree(above, _DEEP, Budget(_DEEP))
    for name in names:
        tree.remove(tree.root, name)


def _copy(path: bytes, target: int) -> None:
    """Everything below `path`, with the same folders and other names of the same files."""
    source = os.open(path, FOLDER_FLAGS)
    try:
        _copy_folder(source, target)
    finally:
        os.close(source)


def _copy_folder(source: int, target: int) -> None:
    for name in map(os.fsencode, os.listdir(source)):
        found = os.stat(name, dir_fd=source, follow_symlinks=False)
        if not stat.S_ISDIR(found.st_mode):
            os.link(name, name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
            continue
        os.mkdir(name, 0o700, dir_fd=target)
        inner = os.open(name, FOLDER_FLAGS, dir_fd=source)
        try:
            outer = os.open(name, FOLDER_FLAGS, dir_fd=target)
            try:
                _copy_folder(inner, outer)
            finally:
                os.close(outer)
        finally:
            os.close(inner)
    found = os.fstat(source)
    now = os.fstat(target)
    if (found.st_uid, found.st_gid) != (now.st_uid, now.st_gid):
        os.fchown(target, found.st_uid, found.st_gid)
    for key in os.listxattr(source):
        if key.startswith("user."):
            os.setxattr(target, key, os.getxattr(source, key))
    os.fchmod(target, stat.S_IMODE(found.st_mode))
    os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
