"""A folder that is written to step by step: every name is opened below its parent's descriptor,
and the system never follows a link.

A link in the way is read and followed here, as it will be when the tree is the root of a
container: what is absolute begins at the root.  One that would climb above the root, or leads to
nothing in it, ends the walk with UnsafeEntry.  So nothing outside of the root is ever touched.

**Somebody else who writes into the tree at the same time** is no part of that: what they do is
done with their own rights, and may well change what is made here.  What is mounted inside of the
tree belongs to it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple, NoReturn

from ...oci.errors import LimitExceeded, UnsafeEntry

FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_FOLDER: Final = {errno.ENOTDIR, errno.ELOOP}
_ALL_OURS: Final = 0o700
_IMPLIED_MODE: Final = 0o755  # of a folder that no entry speaks of
_MAX_LINKS: Final = 40  # on one way, as in the kernel (path_resolution(7))
_MAX_STEPS: Final = 1000  # behind links, on one way
_MAX_OPEN: Final = 128
_MAX_ALIASES: Final = 4096
_ENTRY_COST: Final = 200  # bytes of memory that one remembered name takes beside its own


def is_empty(descriptor: int) -> bool:
    """Whether nothing lies in an open folder."""
    with os.scandir(descriptor) as found:
        return next(found, None) is None


class Folder(NamedTuple):
    """An open folder; `path` is where it really lies, without links, empty for the root."""

    descriptor: int
    path: bytes

    def below(self, name: bytes) -> bytes:
        return self.path + b"/" + name if self.path else name


def _key(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def is_folder(parent: Folder, name: bytes) -> bool:
    """Raises FileNotFoundError."""
    return _is_folder(parent.descriptor, name)


def _is_folder(parent: int, name: bytes) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)


class Attributes(NamedTuple):
    """What a folder gets when all is written; `owner` is None where it stays as it is."""

    path: bytes
    mode: int
    mtime_ns: int
    owner: tuple[int, int] | None


class Budget:
    """Names that must be remembered until the end; of no archive may they fill the memory."""

    def __init__(self, size: int) -> None:
        self._size, self._left = size, size

    def take(self, *names: bytes) -> None:
        """Raises LimitExceeded."""
        self._left -= _ENTRY_COST + sum(map(len, names))
        if self._left < 0:
            raise LimitExceeded("bytes of names that must be remembered", self._size)


class Tree:
    """The tree below the open folder `root`, which it does not close."""

    def __init__(self, root: int, max_depth: int, budget: Budget) -> None:
        self.root = Folder(root, b"")
        self._max_depth, self._budget = max_depth, budget
        self._open: OrderedDict[bytes, int] = OrderedDict()  # by where they really lie
        self._aliases: dict[bytes, bytes] = {}  # ways through links, and where they lead
        self._links = self._steps = 0  # on this way
        # By device and inode: a folder of the same name that comes later is another one.
        self._attributes: dict[tuple[int, int], Attributes] = {}
        self._note(os.fstat(root), b"")

    def close(self) -> None:
        while self._open:
            os.close(self._open.popitem()[1])

    # ---- ways

    def folder(self, path: bytes, *, create: bool) -> Folder | None:
        """The folder `path`, links resolved; made where it is missing, else None.

        It stays open until others have taken its place: use it before the next one is asked for.
        Raises UnsafeEntry, LimitExceeded.
        """
        self._links = self._steps = 0
        return self._folder(path, create=create)

    def plain_folder(self, parent: Folder, name: bytes) -> Folder | None:
        """The folder `name` itself, None where there is none, or a link to one."""
        try:
            is_one = _is_folder(parent.descriptor, name)
        except FileNotFoundError:
            return None
        return self._step(parent, name, create=False) if is_one else None

    def _folder(self, path: bytes, *, create: bool) -> Folder | None:
        if not path:
            return self.root
        known = self._aliases.get(path, path)
        found = self._open.get(known)
        if found is not None:
            self._open.move_to_end(known)
            return Folder(found, known)
        if known != path:
            return self._folder(known, create=create)
        above, _, name = path.rpartition(b"/")
        parent = self._folder(above, create=create)
        if parent is None:
            return None
        step = self._step(parent, name, create=create)
        if step is not None and step.path != path:
            if len(self._aliases) >= _MAX_ALIASES:
                self._aliases.clear()
            self._aliases[path] = step.path
        return step

    def _step(self, parent: Folder, name: bytes, *, create: bool) -> Folder | None:
        path = parent.below(name)
        found = self._open.get(path)
        if found is not None:
            self._open.move_to_end(path)
            return Folder(found, path)
        is_new = False
        try:
            opened = os.open(name, FOLDER_FLAGS, dir_fd=parent.descriptor)
        except FileNotFoundError:
            if not create:
                return None
            self._make(parent, name)
            is_new = True
            opened = os.open(name, FOLDER_FLAGS, dir_fd=parent.descriptor)
        except PermissionError:
            opened = self._forced(parent, name)
        except OSError as error:
            if error.errno not in _NO_FOLDER:
                raise
            target = self._target(parent, name)
            if target is not None:
                return self._through(parent, name, target)
            if not create:
                return None
            self.remove(parent, name)
            self._make(parent, name)
            is_new = True
            opened = os.open(name, FOLDER_FLAGS, dir_fd=parent.descriptor)
        self._keep(path, opened)
        found_now = os.fstat(opened)
        if is_new:
            self._put(found_now, Attributes(path, _IMPLIED_MODE, 0, None))
        else:
            self._note(found_now, path)
            self._take_rights(opened, found_now.st_mode)
        return Folder(opened, path)

    def _target(self, parent: Folder, name: bytes) -> bytes | None:
        """What a link says, None for what is no link."""
        try:
            return os.readlink(name, dir_fd=parent.descriptor)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return None

    def _through(self, parent: Folder, name: bytes, target: bytes) -> Folder:
        self._links += 1
        if self._links > _MAX_LINKS:
            self._refuse(parent, name, f"it leads through more than {_MAX_LINKS} links")
        at: Folder | None = self.root if target.startswith(b"/") else parent
        for part in target.split(b"/"):
            if part in (b"", b"."):
                continue
            assert at is not None
            self._steps += 1
            if self._steps > _MAX_STEPS:
                self._refuse(parent, name, f"it leads through more than {_MAX_STEPS} folders")
            if part == b"..":
                if not at.path:
                    self._refuse(parent, name, f"it is a link to {os.fsdecode(target)!r}")
                at = self._folder(at.path.rpartition(b"/")[0], create=False)
            else:
                at = self._step(at, part, create=False)
            if at is None:
                said = f"it is a link to {os.fsdecode(target)!r}, which is no folder of the root"
                self._refuse(parent, name, said)
        assert at is not None
        return at

    def _refuse(self, parent: Folder, name: bytes, reason: str) -> NoReturn:
        raise UnsafeEntry(os.fsdecode(parent.below(name)), reason)

    def _make(self, parent: Folder, name: bytes) -> None:
        if parent.below(name).count(b"/") >= self._max_depth:
            raise LimitExceeded("folders in each other", self._max_depth)
        os.mkdir(name, _ALL_OURS, dir_fd=parent.descriptor)

    def _forced(self, parent: Folder, name: bytes) -> int:
        """Open a folder that its own mode keeps us out of."""
        found = os.stat(name, dir_fd=parent.descriptor, follow_symlinks=False)
        if not stat.S_ISDIR(found.st_mode):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)
        self._note(found, parent.below(name))
        os.chmod(name, _ALL_OURS, dir_fd=parent.descriptor)
        return os.open(name, FOLDER_FLAGS, dir_fd=parent.descriptor)

    def _take_rights(self, descriptor: int, mode: int) -> None:
        if mode & _ALL_OURS != _ALL_OURS:
            with suppress(PermissionError):
                os.fchmod(descriptor, stat.S_IMODE(mode) | _ALL_OURS)

    def _keep(self, path: bytes, descriptor: int) -> None:
        self._open[path] = descriptor
        if len(self._open) > _MAX_OPEN:
            os.close(self._open.popitem(last=False)[1])

    # ---- what folders get at the end

    def _note(self, found: os.stat_result, path: bytes) -> None:
        """What is written into a folder shall not change its time, nor our way into it its mode."""
        if _key(found) not in self._attributes:
            mode = stat.S_IMODE(found.st_mode)
            self._put(found, Attributes(path, mode, found.st_mtime_ns, None))

    def _put(self, found: os.stat_result, attributes: Attributes) -> None:
        key = _key(found)
        if key not in self._attributes:
            self._budget.take(attributes.path)
        self._attributes[key] = attributes

    def settle(self) -> None:
        """Give every folder its owner, mode and time, the deepest first."""
        for key, (path, mode, mtime_ns, owner) in sorted(
            self._attributes.items(), key=lambda item: item[1].path, reverse=True
        ):
            folder = self.folder(path, create=False)
            if folder is None or _key(os.fstat(folder.descriptor)) != key:
                continue
            if owner is not None:
                os.fchown(folder.descriptor, *owner)
            os.fchmod(folder.descriptor, mode)
            os.utime(folder.descriptor, ns=(mtime_ns, mtime_ns))

    # ---- entries

    def add_folder(
        self, parent: Folder, name: bytes, mode: int, mtime_ns: int, owner: tuple[int, int] | None
    ) -> None:
        """A folder, merged with one that is there; anything else that has the name goes."""
        try:
            self._make(parent, name)
        except FileExistsError:
            if not _is_folder(parent.descriptor, name):
                self.remove(parent, name)
                self._make(parent, name)
        found = os.stat(name, dir_fd=parent.descriptor, follow_symlinks=False)
        self._put(found, Attributes(parent.below(name), mode, mtime_ns, owner))

    def set_root(self, mode: int, mtime_ns: int, owner: tuple[int, int] | None) -> None:
        found = os.fstat(self.root.descriptor)
        self._put(found, Attributes(b"", mode, mtime_ns, owner))

    def add_file(self, parent: Folder, name: bytes) -> int:
        """A new empty file, open to be written; whatever had the name goes."""
        try:
            return os.open(name, _NEW_FILE, 0o600, dir_fd=parent.descriptor)
        except FileExistsError:
            self.remove(parent, name)
            return os.open(name, _NEW_FILE, 0o600, dir_fd=parent.descriptor)

    def put(self, parent: Folder, name: bytes, make: Callable[[], object]) -> None:
        """Something that `make` makes, which raises FileExistsError where something is."""
        try:
            make()
        except FileExistsError:
            self.remove(parent, name)
            make()

    def remove(self, parent: Folder, name: bytes) -> None:
        """Whatever has the name, with all below it; a link itself, never what it leads to."""
        try:
            os.unlink(name, dir_fd=parent.descriptor)
        except FileNotFoundError:
            return
        except OSError:
            if not _is_folder(parent.descriptor, name):
                raise
            self._remove_folder(parent, name)
        self._aliases.clear()

    def _remove_folder(self, parent: Folder, name: bytes) -> None:
        path = parent.below(name)
        for known in [one for one in self._open if one == path or one.startswith(path + b"/")]:
            os.close(self._open.pop(known))
        levels = [(parent.descriptor, name, *self._entered(parent.descriptor, name))]
        try:
            while levels:
                above, its_name, descriptor, names = levels[-1]
                below = None
                while below is None and names:
                    child = names.pop()
                    try:
                        os.unlink(child, dir_fd=descriptor)
                    except OSError:
                        if not _is_folder(descriptor, child):
                            raise
                        below = child
                if below is not None:
                    levels.append((descriptor, below, *self._entered(descriptor, below)))
                    continue
                levels.pop()
                os.close(descriptor)
                os.rmdir(its_name, dir_fd=above)
        finally:
            for _, _, descriptor, _ in levels:
                os.close(descriptor)

    def _entered(self, parent: int, name: bytes) -> tuple[int, list[bytes]]:
        """A folder that is about to be removed: open, with the right to do so, and its names."""
        try:
            opened = os.open(name, FOLDER_FLAGS, dir_fd=parent)
        except PermissionError:
            if not _is_folder(parent, name):
                raise
            os.chmod(name, _ALL_OURS, dir_fd=parent)
            opened = os.open(name, FOLDER_FLAGS, dir_fd=parent)
        found = os.fstat(opened)
        self._attributes.pop(_key(found), None)
        self._take_rights(opened, found.st_mode)
        return opened, [os.fsencode(one) for one in os.listdir(opened)]

    def remove_others(self, folder: Folder, is_kept: Callable[[bytes], bool]) -> None:
        """Everything below `folder` whose path is not kept, also in folders that are."""
        for name in map(os.fsencode, os.listdir(folder.descriptor)):
            path = folder.below(name)
            if not is_kept(path):
                self.remove(folder, name)
                continue
            below = self.plain_folder(folder, name)
            if below is not None:
                self.remove_others(below, is_kept)
                again = self._folder(folder.path, create=False)
                assert again is not None
                folder = again
