"""A file system, processes that may be killed, and a power that may fail.

A process is a coroutine of the product; it stops at every call of `Files` whose effect another
process can see.  What is under ``tmp/`` and ``uploads/``, and what is derived, is its own business:
those calls happen at once.

Power loss: a file's bytes survive only if it was synced; of the changes of names made since their
folder was synced, any subset may survive (of one name: any of its states in between).
"""

from __future__ import annotations

import hashlib
import itertools
from functools import lru_cache

from wasmhold.oci.errors import WasmholdError
from wasmhold.ports.body import BytesBody
from wasmhold.ports.runtime import Inline
from wasmhold.stores.directory.files import Absent, Exists, FilesError, Status
from wasmhold.stores.directory.root import Root
from wasmhold.stores.directory.store import DirectoryStore

from . import invariants
from .invariants import Violation

NOW = 1e9  # seconds
LOSSES = 3000  # ways of one power loss that are looked at
OWN = ("tmp", "uploads", "committed", "dirty", "building", "pool", "index", "in-use", "format")


class Crash(BaseException):
    """Ends a process in the middle of a call; nothing of the product catches it."""


class Call:
    """One call of `Files`: awaiting it hands it to the world."""

    __slots__ = ("kind", "more", "path")

    def __init__(self, kind, path, more=None):
        self.kind, self.path, self.more = kind, path, more

    def __await__(self):
        return (yield self)

    def __str__(self):
        return f"{self.kind} {self.path}{'' if self.more is None else f' {self.more!r:.60}'}"


class Inode:
    __slots__ = ("content", "kind", "number", "synced")

    def __init__(self, number, kind, content, synced):
        self.number, self.kind, self.content, self.synced = number, kind, content, synced


@lru_cache(None)
def is_shared(path):
    """Whether another process may see, or take, what is at this path."""
    parts = path.split("/")
    if ".wasmhold" not in parts:
        return "blobs" in parts and len(parts) > parts.index("blobs") + 1
    first = parts[parts.index(".wasmhold") + 1 :][:1]
    if parts[0] == ".wasmhold":
        return first == ["pool"] and len(parts) > 4
    return bool(first) and not first[0].startswith("index")


class SimFiles:
    """`Files` of one process."""

    def __init__(self, world, process):
        self._world, self._process = world, process

    async def _call(self, kind, path, more=None, other=None):
        if self._process.is_dead:
            raise Crash
        call = Call(kind, path, more)
        quiet = kind == "sync_folder" and not self._world.has_pending(path)
        quiet |= kind == "create" and path.endswith("lock") and self._world.stat(path) is not None
        if not quiet and (is_shared(path) or (other is not None and is_shared(other))):
            value, error = await call
            if error is not None:
                raise error
            return value
        return self._world.apply(self._process, call)

    async def stat(self, path):
        return await self._call("stat", path)

    async def readlink(self, path):
        return await self._call("readlink", path)

    async def read(self, path):
        return await self._call("read", path)

    async def open_body(self, path, start, stop):
        content = await self._call("read", path)
        return None if content is None else BytesBody(content[start:stop])

    async def names(self, folder):
        return await self._call("names", folder)

    async def texts(self, folder):
        return await self._call("texts", folder)

    async def has_names(self, folder):
        return bool(await self._call("names", folder))

    async def make_folder(self, path):
        if self._world.stat(path) is None:
            await self._call("make_folder", path)

    async def remove_folder(self, path):
        return await self._call("remove_folder", path)

    async def create(self, path, content):
        await self._call("create", path, content)

    async def overwrite(self, path, content):
        await self._call("overwrite", path, content)

    async def open_write(self, path):
        await self._call("append", path, b"")
        return SimWriter(self, path)

    async def copy(self, path, to):
        content = await self._call("read", path)
        await self._call("create", to, content)

    async def touch(self, path):
        pass  # everything is old all the same

    async def link(self, path, to):
        await self._call("link", path, to, other=to)

    async def symlink(self, text, path):
        await self._call("symlink", path, text)

    async def rename(self, path, to):
        await self._call("rename", path, to, other=to)

    async def unlink(self, path):
        return await self._call("unlink", path)

    async def sync(self, path):
        await self._call("sync", path)

    async def sync_folder(self, path):
        await self._call("sync_folder", path)

    async def lock(self, path, *, exclusive, wait=True):
        return await self._call("lock" if wait else "try", path, exclusive)

    async def unlock(self, held):
        await self._call("unlock", self._world.locks[held][0], held)


class SimWriter:
    def __init__(self, files, path):
        self._files, self._path = files, path

    async def write(self, *chunks, hasher=None):
        if hasher is not None:
            hasher.update(b"".join(chunks))
        await self._files._call("append", self._path, b"".join(chunks))

    async def truncate(self, size):
        await self._files._call("truncate", self._path, size)

    def close(self):
        pass


class Process:
    __slots__ = ("coroutine", "count", "history", "is_dead", "name", "waiting")

    def __init__(self, name):
        self.name = name
        self.waiting, self.history, self.count, self.is_dead = None, 0, 0, False

    def token(self, size):
        self.count += 1
        return hashlib.md5(f"{self.name}.{self.count}".encode()).digest()[:size]

    def kill(self):
        self.is_dead = True
        try:
            self.coroutine.throw(Crash())
        except (Crash, StopIteration, RuntimeError):
            pass


class World:
    def __init__(self, scenario, kills=0, looked=None):
        self.scenario, self.kills = scenario, kills
        self.looked = set() if looked is None else looked  # states that were found to be right
        self.now_ns = int(NOW * 1e9)
        self.names, self.durable, self.pending = {}, {}, []
        self.changes = {}  # of the names in each folder: its time
        self.locks, self.processes, self.log = {}, {}, []
        self.numbers, self.steps, self.is_quiet = 0, 0, True
        for folder in (".", ".wasmhold", *(f".wasmhold/{name}" for name in OWN[:6])):
            self.names[folder] = self.new("folder", None)
        self.spawn("0", scenario.setup)
        self.drain()
        self.durable, self.pending = dict(self.names), []
        self.is_quiet = False
        for name, process in zip("ABC", scenario.processes, strict=False):
            self.spawn(name, process)

    # ---- processes

    def spawn(self, name, process):
        made = self.processes[name] = Process(name)
        files = SimFiles(self, made)
        tmp = f".wasmhold/tmp/{name}"
        self.set(tmp, self.new("folder", None))
        self.set(f"{tmp}/lock", self.new("file", b""))
        lock = self.take(made, f"{tmp}/lock", True)
        store = DirectoryStore(
            files, Inline(lambda: NOW, lambda seconds: None), made, Root(tmp, ())
        )
        assert lock is not None
        made.coroutine = process(self, store)
        self.resume(made, None)

    def resume(self, process, value):
        try:
            process.waiting = None
            process.waiting = process.coroutine.send(value)
        except StopIteration:
            self.end(process)
        except WasmholdError as failed:
            self.log.append(("failed", process.name, type(failed).__name__))
            self.end(process)
        except (Violation, Crash):
            raise
        except FilesError as stray:
            raise Violation(f"{type(stray).__name__} reached the caller") from stray
        except Exception as broken:
            raise Violation(f"{type(broken).__name__}: {broken}") from broken

    def end(self, process):
        process.is_dead = True
        del self.processes[process.name]
        self.locks = {k: lock for k, lock in self.locks.items() if lock[1] != process.name}

    # ---- the file system

    def new(self, kind, content):
        self.numbers += 1
        return Inode(self.numbers, kind, content, None if kind == "file" else content)

    def set(self, path, inode):
        folder = path.rpartition("/")[0]
        self.changes[folder] = self.changes.get(folder, 0) + 1
        if inode is None:
            self.names.pop(path, None)
        else:
            self.names[path] = inode
        if is_shared(path):
            self.pending.append((path, inode))

    def stat(self, path):
        return self.names.get(path)

    def has_pending(self, folder):
        return any(path.rpartition("/")[0] == folder for path, _ in self.pending)

    def inside(self, folder):
        prefix = "" if folder == "." else f"{folder}/"
        return [
            path[len(prefix) :]
            for path in self.names
            if path.startswith(prefix) and path != "." and "/" not in path[len(prefix) :]
        ]

    def place(self, path):
        folder = path.rpartition("/")[0] or "."
        if folder not in self.names:
            raise Absent(path)
        if path in self.names:
            raise Exists(path)

    def apply(self, process, call):
        names, path, more = self.names, call.path, call.more
        inode = names.get(path)
        if call.kind in ("sync", "sync_folder", "link", "rename", "truncate") and inode is None:
            raise Absent(path)
        match call.kind:
            case "stat":
                return None if inode is None else self.status(path, inode)
            case "readlink" | "read":
                return None if inode is None else inode.content
            case "names":
                return None if inode is None else self.inside(path)
            case "texts":
                prefix = f"{path}/"
                return {name: names[prefix + name].content for name in sorted(self.inside(path))}
            case "make_folder" | "create" | "symlink":
                self.place(path)
                kind = {"make_folder": "folder", "create": "file", "symlink": "link"}[call.kind]
                self.set(path, self.new(kind, more))
            case "overwrite" | "append":
                if inode is None:
                    self.place(path)
                    inode = self.new("file", b"")
                    self.set(path, inode)
                inode.content = more if call.kind == "overwrite" else inode.content + more
            case "truncate":
                inode.content = inode.content[:more]
            case "link":
                self.place(more)
                self.set(more, inode)
            case "rename":
                if names.get(more) is not inode:
                    self.set(path, None)
                    self.set(more, inode)
            case "unlink":
                if inode is not None:
                    self.set(path, None)
                return inode is not None
            case "remove_folder":
                if inode is None or self.inside(path):
                    return False
                self.set(path, None)
                return True
            case "sync":
                inode.synced = inode.content
            case "sync_folder":
                self.sync_folder(path)
            case "lock" | "try":
                return self.take(process, path, more)
            case "unlock":
                self.locks.pop(more, None)
            case kind:
                raise AssertionError(kind)

    def status(self, path, inode):
        links = sum(other is inode for other in self.names.values())
        size = len(inode.content or b"")
        at = 0 if is_shared(path) else self.now_ns
        modified = self.changes.get(path, 0) if inode.kind == "folder" and not at else at
        return Status(inode.number, size, links, modified, at)

    def sync_folder(self, folder):
        rest = []
        for path, inode in self.pending:
            if path.rpartition("/")[0] != folder:
                rest.append((path, inode))
            elif inode is None:
                self.durable.pop(path, None)
            else:
                self.durable[path] = inode
        self.pending = rest

    # ---- locks

    def is_free(self, path, exclusive):
        held = [alone for where, _, alone in self.locks.values() if where == path]
        return not held or not (exclusive or any(held))

    def take(self, process, path, exclusive):
        if path not in self.names or not self.is_free(path, exclusive):
            return None
        self.numbers += 1
        self.locks[self.numbers] = (path, process.name, exclusive)
        return self.numbers

    # ---- choices

    def choices(self):
        found = []
        for name in sorted(self.processes):
            call = self.processes[name].waiting
            waits = call.kind == "lock" and call.path in self.names
            if not waits or self.is_free(call.path, call.more):
                found.append(("go", name))
            if self.kills and not self.is_quiet:
                found.append(("kill", name))
        return found

    def do(self, choice):
        what, who = choice
        process = self.processes[who]
        if what == "kill":
            self.kills -= 1
            process.kill()
            self.end(process)
            self.log.append(("failed", who, "killed"))
            return
        call, self.steps = process.waiting, self.steps + 1
        value = error = None
        try:
            value = self.apply(process, call)
        except FilesError as refused:
            error = refused
        process.history = hash((process.history, repr(value), type(error)))
        self.resume(process, (value, error))
        self.look()

    def close(self):
        for process in list(self.processes.values()):
            process.kill()
        self.processes.clear()

    def drain(self):
        while self.processes:
            self.do(next(choice for choice in self.choices() if choice[0] == "go"))

    @staticmethod
    def key_of(names):
        return hash(
            tuple(
                sorted(
                    (path, inode.number, inode.content, inode.synced)
                    for path, inode in names.items()
                    if is_shared(path) and inode.kind != "folder"
                )
            )
        )

    def key(self):
        return hash(
            (
                self.key_of(self.names),
                tuple((path, inode and inode.number) for path, inode in self.pending),
                tuple(sorted((p, n, e) for p, n, e in self.locks.values())),
                tuple(sorted((p.name, p.history) for p in self.processes.values())),
                tuple(self.log),
                self.kills,
            )
        )

    # ---- what clients were told

    def begin(self, kind, *what):
        self.log.append(("begin", len(self.log), kind, *what))
        return len(self.log) - 1

    def acknowledge(self, operation):
        self.log.append(("ack", operation))

    # ---- after every change, and at the end

    def look(self):
        if self.is_quiet:
            return
        key = hash((self.key(), self.key_of(self.durable)))
        if key in self.looked:
            return
        self.looked.add(key)
        now = {p: inode for p, inode in self.names.items() if is_shared(p)}
        invariants.check({p: (i.kind, i.content) for p, i in now.items()}, self, "now")
        for after in self.losses():
            state = {p: (i.kind, i.synced) for p, i in after.items()}
            invariants.check(state, self, "after a power loss")

    def losses(self):
        names = sorted({path for path, _ in self.pending})
        ways = []
        for name in names:
            states = [self.durable.get(name)] + [i for path, i in self.pending if path == name]
            ways.append(list(dict.fromkeys(states)))
        for pick in itertools.islice(itertools.product(*ways), LOSSES):
            after = dict(self.durable)
            for name, inode in zip(names, pick, strict=True):
                if inode is None:
                    after.pop(name, None)
                else:
                    after[name] = inode
            yield {path: inode for path, inode in after.items() if is_shared(path)}

    def settle(self):
        """Everything is still now; what nobody needs must go."""
        self.kills = self.now_ns = 0  # sessions of the dead are over
        for _ in range(8):
            before = {p: inode for p, inode in self.names.items() if is_shared(p)}
            self.spawn("Z", lambda world, store: collect(store, self.scenario.untagged))
            self.drain()
            if before == {p: inode for p, inode in self.names.items() if is_shared(p)}:
                break
        else:
            raise Violation("collection does not come to rest")
        invariants.check_no_garbage(self.names)


async def collect(store, untagged):
    await store.collect(0, untagged=untagged)
