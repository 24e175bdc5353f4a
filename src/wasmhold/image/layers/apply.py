"""One layer, applied to a tree: what its entries say, in order.

- The newer entry takes the place of an older one; a folder over a folder merges.
- A whiteout, and an opaque mark, take away what lower layers have put there, and nothing of their
  own layer, wherever in it they stand.
- A hard link may come before what it links to.
- Modes and times of folders are set at the end, so that a folder nobody may write into can have
  content, and keeps its time.

Source: image-spec layer.md, "Applying Changesets".
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Final

from ...client.places import entries
from ...client.places.entries import Entry, Stream, read_entries
from ...client.places.files import translated, write_all
from ...oci.errors import ArchiveInvalid, LimitExceeded, UnsafeEntry
from .options import How
from .tree import Budget, Folder, Tree, is_empty, is_folder

WHITEOUT: Final = b".wh."
OPAQUE: Final = b".wh..wh..opq"

_MAX_SEGMENT: Final = 255  # bytes of a name without slashes; more than that no file system has
_SETID: Final = stat.S_ISUID | stat.S_ISGID
_TOLD: Final = 10  # entries that were left out; there may be a million
_PASSES: Final = 8  # over hard links that wait for each other by names that lead through links
_CAPABILITY: Final = b"security.capability"
_SPECIAL: Final = {
    entries.CHARACTER_DEVICE: stat.S_IFCHR,
    entries.BLOCK_DEVICE: stat.S_IFBLK,
    entries.PIPE: stat.S_IFIFO,
}


@dataclass(slots=True)
class Counts:
    """How many of a layer's entries were what."""

    entries: int = 0
    files: int = 0
    folders: int = 0
    links: int = 0  # symbolic
    hard_links: int = 0
    whiteouts: int = 0  # opaque marks among them
    special: int = 0  # created
    special_skipped: int = 0
    unknown_skipped: int = 0  # kinds that nobody here knows
    unsafe_skipped: int = 0
    xattrs_skipped: int = 0
    skipped: list[str] = field(default_factory=list)  # the first of the unsafe ones


class _Paths:
    """A set of paths, remembered in few bytes each."""

    def __init__(self) -> None:
        self._marks: set[bytes] = set()

    def add(self, path: bytes) -> None:
        self._marks.add(_mark(path))

    def __contains__(self, path: bytes) -> bool:
        return _mark(path) in self._marks


class _Own:
    """What this layer has made, and `alone`: folders in which nothing is from below any more."""

    def __init__(self) -> None:
        self.paths, self.alone = _Paths(), _Paths()
        self._above = b""

    def add(self, parent: Folder, name: bytes) -> None:
        self.paths.add(parent.below(name))
        if parent.path != self._above:
            self._above = path = parent.path
            while path and path not in self.paths:
                self.paths.add(path)
                path = path.rpartition(b"/")[0]


def _mark(path: bytes) -> bytes:
    return hashlib.blake2b(path, digest_size=12).digest()


class Layer:
    """Applies one archive to the folder `root`, which is open; `place` is for messages."""

    def __init__(self, root: int, how: How, place: str) -> None:
        self.counts = Counts()
        self._how, self._place, self._limits = how, place, how.limits
        self._budget = Budget(how.limits.remembered)
        self._tree = Tree(root, how.limits.depth, self._budget)
        # In an empty folder there is nothing to hide, and so nothing to remember.
        self._own = None if is_empty(root) else _Own()
        self._waiting: dict[bytes, bytes] = {}  # hard links whose target has not come, by name
        self._holes = 0  # bytes
        self._above = b"/", b""  # the last folder, as the archive has it, and plain
        self._not_made: set[bytes] = set()  # names of devices and pipes that were skipped
        self._put_as: dict[bytes, Callable[[Stream, Entry, Folder, bytes], None]] = {
            entries.FILE: self._file,
            entries.FOLDER: self._folder,
            entries.SYMBOLIC_LINK: self._symbolic_link,
            entries.HARD_LINK: self._hard_link,
            **dict.fromkeys(_SPECIAL, self._special),
        }

    def apply(self, stream: Stream) -> None:
        """All of `stream` up to the end of the archive.

        Raises ArchiveInvalid, UnsafeEntry, LimitExceeded; what the file system says; what reading
        does.  Folders get their modes also when it raises.
        """
        try:
            self._apply(stream)
        except BaseException:
            with suppress(OSError):
                self._tree.settle()
            raise
        finally:
            self._tree.close()

    def _apply(self, stream: Stream) -> None:
        name = b""
        try:
            for entry in read_entries(stream):
                self.counts.entries += 1
                if self.counts.entries > self._limits.entries:
                    raise LimitExceeded("entries", self._limits.entries)
                name = entry.name
                try:
                    self._entry(stream, entry)
                except UnsafeEntry as error:
                    self._skip(error)
            name = b""
            self._link_late()
            self._tree.settle()
        except OSError as error:
            path = os.path.join(self._place, os.fsdecode(name))
            with translated(path):
                raise error

    def _skip(self, error: UnsafeEntry) -> None:
        """Raises it unless such entries are left out."""
        if self._how.on_unsafe != "skip":
            raise error
        self.counts.unsafe_skipped += 1
        if len(self.counts.skipped) < _TOLD:
            self.counts.skipped.append(str(error))

    # ---- names

    def _parts(self, name: bytes, of: bytes) -> list[bytes]:
        """The segments of a name or of a hard link's target.  Raises UnsafeEntry."""

        def refuse(reason: str) -> UnsafeEntry:
            return UnsafeEntry(os.fsdecode(of), reason)

        if len(name) > self._limits.name:
            raise refuse(f"a name has more than {self._limits.name} bytes")
        if not name:
            raise refuse("it has no name")
        if name.startswith(b"/"):
            raise refuse("its name begins at the root of the system")
        parts = [part for part in name.split(b"/") if part and part != b"."]
        if b".." in parts:
            raise refuse("its name leads upwards")
        if len(parts) > self._limits.depth:
            raise LimitExceeded("folders in each other", self._limits.depth)
        if parts and max(map(len, parts)) > _MAX_SEGMENT:
            raise refuse(f"a part of its name has more than {_MAX_SEGMENT} bytes")
        return parts

    def _place_of(self, name: bytes) -> tuple[bytes, bytes]:
        """The folder of an entry and its name there, which is empty for the root."""
        last = name[name.rfind(b"/") + 1 :]
        above = name[: len(name) - len(last)]  # with its slash: "/x" is another name than "x"
        is_short = len(last) <= _MAX_SEGMENT and len(name) <= self._limits.name
        # Most entries lie beside the one before.
        if above == self._above[0] and is_short and last.strip(b"."):
            return self._above[1], last
        *parts, found = self._parts(name, name) or [b""]
        plain = b"/".join(parts)
        if found == last:
            self._above = above, plain
        return plain, found

    def _entry(self, stream: Stream, entry: Entry) -> None:
        above, name = self._place_of(entry.name)
        if not name:
            self._root(entry)
            return
        if above.startswith(WHITEOUT) or b"/" + WHITEOUT in above:
            raise UnsafeEntry(os.fsdecode(entry.name), "it lies in a whiteout")
        if name.startswith(WHITEOUT):
            self._whiteout(entry, above, name)
            return
        put = self._put_as.get(entry.kind)
        if put is None:
            self.counts.unknown_skipped += 1
            return
        parent = self._tree.folder(above, create=True)
        assert parent is not None
        if self._waiting:
            self._waiting.pop(parent.below(name), None)
        if self._not_made:
            self._not_made.discard(parent.below(name))
        if self._own is not None:
            self._own.add(parent, name)
        put(stream, entry, parent, name)

    def _root(self, entry: Entry) -> None:
        if entry.kind != entries.FOLDER:
            raise UnsafeEntry(os.fsdecode(entry.name), "it would take the place of the root")
        self.counts.folders += 1
        self._xattrs(entry, self._tree.root.descriptor)
        self._tree.set_root(self._mode(entry), entry.mtime_ns, self._owner(entry))

    # ---- kinds

    def _file(self, stream: Stream, entry: Entry, parent: Folder, name: bytes) -> None:
        descriptor = self._tree.add_file(parent, name)
        try:
            if entry.segments is None:
                for piece in stream.pieces(entry.stored):
                    write_all(descriptor, piece)
            else:
                self._holes += entry.size - entry.stored
                if stream.position + self._holes > self._limits.size:
                    raise LimitExceeded("bytes when it is unpacked", self._limits.size)
                _write_sparse(descriptor, stream, entry)
            owner = self._owner(entry)
            if owner is not None:
                os.fchown(descriptor, *owner)
            if entry.xattrs:
                self._xattrs(entry, descriptor)
            os.fchmod(descriptor, self._mode(entry))
            os.utime(descriptor, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(descriptor)
        self.counts.files += 1

    def _folder(self, stream: Stream, entry: Entry, parent: Folder, name: bytes) -> None:
        self._tree.add_folder(parent, name, self._mode(entry), entry.mtime_ns, self._owner(entry))
        if entry.xattrs:
            folder = self._tree.folder(parent.below(name), create=False)
            assert folder is not None
            self._xattrs(entry, folder.descriptor)
        self.counts.folders += 1

    def _symbolic_link(self, stream: Stream, entry: Entry, parent: Folder, name: bytes) -> None:
        if not entry.link or len(entry.link) >= self._limits.name:
            raise ArchiveInvalid(
                f"the link {os.fsdecode(entry.name)!r} says nothing, or more than "
                f"{self._limits.name} bytes"
            )
        at = parent.descriptor
        self._tree.put(parent, name, lambda: os.symlink(entry.link, name, dir_fd=at))
        owner = self._owner(entry)
        if owner is not None:
            os.chown(name, *owner, dir_fd=at, follow_symlinks=False)
        times = (entry.mtime_ns, entry.mtime_ns)
        os.utime(name, ns=times, dir_fd=at, follow_symlinks=False)
        self.counts.xattrs_skipped += len(entry.xattrs)
        self.counts.links += 1

    def _hard_link(self, stream: Stream, entry: Entry, parent: Folder, name: bytes) -> None:
        target = b"/".join(self._parts(entry.link, entry.name))
        if self._link(target, parent, name):
            return
        # The search may have closed the folder.
        again = self._tree.folder(parent.path, create=False)
        assert again is not None
        self._tree.remove(again, name)
        way = parent.below(name)
        self._budget.take(way, target)
        self._waiting[way] = target

    def _link(self, target: bytes, parent: Folder, name: bytes) -> bool:
        """Whether the target was there.  It is never followed: of a link the link gets a name."""
        way, _, last = target.rpartition(b"/")
        if not last:
            return False
        with ExitStack() as held:
            # Both folders stay open: finding one, or making room, may close the other.
            there = _held(parent, held)
            found = self._tree.folder(way, create=False)
            if found is None:
                return False
            here = _held(found, held)
            if here.below(last) in self._not_made:
                self._not_made.add(there.below(name))
                self.counts.special_skipped += 1
                return True
            try:
                if is_folder(here, last):
                    raise ArchiveInvalid(f"a hard link to the folder {os.fsdecode(target)!r}")
                if here.below(last) != there.below(name):
                    self._tree.put(there, name, lambda: _name_too(here, last, there, name))
            except FileNotFoundError:
                return False  # or it lay in the folder whose place the link has taken
        self.counts.hard_links += 1
        return True

    def _link_late(self) -> None:
        """Hard links that came before what they link to, also where that is such a link itself."""
        for _ in range(_PASSES):
            seen: set[bytes] = set()
            before = len(self._waiting)
            for first in list(self._waiting):
                # Down to what waits for nobody, and back; a circle ends where it began.
                chain: list[bytes] = []
                way: bytes | None = first
                while way in self._waiting and way not in seen:
                    seen.add(way)
                    chain.append(way)
                    way = self._waiting[way]
                for one in reversed(chain):
                    try:
                        if self._is_linked(one):
                            del self._waiting[one]
                    except UnsafeEntry as error:
                        del self._waiting[one]
                        self._skip(error)
            if len(self._waiting) == before:
                break  # the next one would find what this one has found
        if self._waiting:
            way, target = next(iter(self._waiting.items()))
            raise ArchiveInvalid(
                f"the hard link {os.fsdecode(way)!r} leads to {os.fsdecode(target)!r}, which is "
                "not in the layer nor below it"
            )

    def _is_linked(self, way: bytes) -> bool:
        """Whether a late hard link is done; one whose folder is gone has gone with it."""
        above, _, name = way.rpartition(b"/")
        parent = self._tree.folder(above, create=False)
        return parent is None or self._link(self._waiting[way], parent, name)

    def _special(self, stream: Stream, entry: Entry, parent: Folder, name: bytes) -> None:
        self._tree.remove(parent, name)
        if self._how.special == "error":
            raise ArchiveInvalid(f"{os.fsdecode(entry.name)!r} is a device or a pipe")
        if self._how.special == "skip":
            self._budget.take(parent.below(name))
            self._not_made.add(parent.below(name))
            self.counts.special_skipped += 1
            return
        at, mode = parent.descriptor, self._mode(entry)
        try:
            device = os.makedev(*entry.device)
            os.mknod(name, _SPECIAL[entry.kind] | mode, device, dir_fd=at)
        except (OverflowError, ValueError):
            raise ArchiveInvalid(f"no system has the device {entry.device}") from None
        owner = self._owner(entry)
        if owner is not None:
            os.chown(name, *owner, dir_fd=at, follow_symlinks=False)
        os.chmod(name, mode, dir_fd=at)  # less the umask until now; it is no link
        os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=at, follow_symlinks=False)
        self.counts.special += 1

    # ---- whiteouts

    def _whiteout(self, entry: Entry, above: bytes, name: bytes) -> None:
        hidden = name.removeprefix(WHITEOUT)
        if hidden in (b"", b".", b".."):
            raise UnsafeEntry(os.fsdecode(entry.name), "a whiteout of no plain name")
        self.counts.whiteouts += 1
        folder = self._tree.folder(above, create=False)
        if folder is None or self._own is None:
            return
        if name == OPAQUE:
            self._hide(folder, self._own)
        elif folder.below(hidden) not in self._own.paths:
            self._tree.remove(folder, hidden)
        else:
            # The layer has a folder of that name: what is in it from below goes.
            at = self._tree.plain_folder(folder, hidden)
            if at is not None:
                self._hide(at, self._own)

    def _hide(self, folder: Folder, own: _Own) -> None:
        """Remove what lower layers have there.  Once is enough: nothing of it comes again."""
        if folder.path not in own.alone:
            own.alone.add(folder.path)
            self._tree.remove_others(folder, own.paths.__contains__)

    # ---- attributes

    def _mode(self, entry: Entry) -> int:
        return entry.mode if self._how.keep_setid else entry.mode & ~_SETID

    def _owner(self, entry: Entry) -> tuple[int, int] | None:
        return self._how.owner_of(entry.uid, entry.gid)

    def _xattrs(self, entry: Entry, descriptor: int) -> None:
        for name, value in entry.xattrs:
            name = name.removeprefix(entries.XATTR)
            if self._how.xattrs and (name.startswith(b"user.") or name == _CAPABILITY):
                os.setxattr(descriptor, name, value)
            else:
                self.counts.xattrs_skipped += 1


def _held(folder: Folder, held: ExitStack) -> Folder:
    descriptor = os.dup(folder.descriptor)
    held.callback(os.close, descriptor)
    return folder._replace(descriptor=descriptor)


def _name_too(here: Folder, name: bytes, there: Folder, new: bytes) -> None:
    """A further name of what has one; of a link the link itself."""
    os.link(
        name,
        new,
        src_dir_fd=here.descriptor,
        dst_dir_fd=there.descriptor,
        follow_symlinks=False,
    )


def _write_sparse(descriptor: int, stream: Stream, entry: Entry) -> None:
    assert entry.segments is not None
    for offset, length in entry.segments:
        os.lseek(descriptor, offset, os.SEEK_SET)
        for piece in stream.pieces(length):
            write_all(descriptor, piece)
    os.ftruncate(descriptor, entry.size)
