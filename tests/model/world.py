"""A bucket, processes, and a network that loses, delays and answers wrongly.

A process is a coroutine of the product; it stops at every request to the bucket.  A run is a
sequence of choices: which request is served next, with which fault, who crashes, which late
request arrives.  `explore` makes the choices.
"""

from __future__ import annotations

import hashlib

from wasmhold.oci.errors import WasmholdError
from wasmhold.stores.bucket import cells as product_cells
from wasmhold.stores.bucket.port import (
    Absent,
    Ambiguous,
    BucketError,
    Conflict,
    Entry,
    Page,
    Unsupported,
)
from wasmhold.stores.bucket.store import BucketStore

from . import content, invariants
from .invariants import Violation

WRITES = {"create", "replace", "remove", "delete", "put_data"}
CONDITIONAL = {"create", "replace", "remove"}
LATER = 1e9  # now: everything is old, which is the worst case for those who remove by age


class Crash(BaseException):
    """Ends a process in the middle of a request; nothing of the product catches it."""


class Request:
    """One call of the bucket: awaiting it hands it to the world."""

    __slots__ = ("body", "etag", "key", "kind")

    def __init__(self, kind, key, body=None, etag=None):
        self.kind, self.key, self.body, self.etag = kind, key, body, etag

    def __await__(self):
        return (yield self)

    def tuple(self):
        return (self.kind, self.key, self.body, self.etag)


class Together:
    """Jobs side by side: awaiting it forks the strand."""

    __slots__ = ("coroutines",)

    def __init__(self, coroutines):
        self.coroutines = coroutines

    def __await__(self):
        return (yield self)


class SimBucket:
    def get(self, key):
        return Request("get", key)

    def create(self, key, body):
        return Request("create", key, body)

    def replace(self, key, body, etag):
        return Request("replace", key, body, etag)

    def remove(self, key, etag):
        return Request("remove", key, None, etag)

    def delete(self, key):
        return Request("delete", key)

    def has(self, key):
        return Request("has", key)

    def list(self, prefix, after, limit=1000):
        return Request("list", prefix, after)

    async def put_data(self, key, chunks):
        body = b"".join([chunk async for chunk in chunks])
        await Request("put_data", key, body)
        return len(body)

    async def read_data(self, key, start, stop):
        got = await Request("get", key)
        if got is None:
            raise Absent(key)
        yield got[0][start:stop]


class SimRuntime:
    """The runtime and the randomness of one process."""

    def __init__(self, world):
        self._world = world

    def map(self, function, items, limit):
        return Together([function(item) for item in items])

    async def offload(self, function, /, *arguments):
        return function(*arguments)

    async def sleep(self, seconds):
        return

    def now(self):
        return LATER

    def token(self, size):
        # By strand and count, so that it does not depend on what other strands did before.
        strand = self._world.current
        strand.count += 1
        label = f"{strand.path}.{strand.count}"
        token = hashlib.md5(label.encode()).digest()[:size]
        content.LABELS[token.hex()] = label
        return token


class Strand:
    __slots__ = (
        "coroutine", "count", "forks", "history", "left", "parent", "path", "process", "results",
        "slot", "waiting",
    )  # fmt: skip

    def __init__(self, path, process, coroutine, parent=None, slot=0):
        self.path, self.process, self.coroutine = path, process, coroutine
        self.parent, self.slot = parent, slot
        self.waiting, self.history, self.forks, self.count = None, 0, 0, 0

    def end(self):
        # Not close(): in Python 3.11 that leaves asynchronous generators "running".
        try:
            self.coroutine.throw(Crash())
        except (Crash, StopIteration, RuntimeError):
            pass  # RuntimeError: it has ended already


ETAGS = {}


def etag_of(body):
    """As S3: equal bodies have equal ETags."""
    etag = ETAGS.get(body)
    if etag is None:
        if len(ETAGS) > 200_000:
            ETAGS.clear()
        etag = ETAGS[body] = hashlib.md5(body).hexdigest()[:12]
    return etag


class World:
    def __init__(self, scenario, page=1000, crashes=0, faults=0, forgets=True):
        self.store, self.strands, self.net, self.log = {}, {}, [], []
        self.page, self.crashes, self.faults, self.scenario = page, crashes, faults, scenario
        self.forgets = forgets  # whether the bucket can delete if-match
        self.current, self.steps, self.quiet, self.box = None, 0, True, None
        if scenario.setup:
            self.spawn("0", scenario.setup)
            self.drain()
        self.quiet = False
        for name, process in zip("ABCDEFGH", scenario.processes, strict=False):
            self.spawn(name, process)

    # ---- processes

    def spawn(self, name, process):
        runtime = SimRuntime(self)
        store = BucketStore(SimBucket(), runtime, runtime)
        self.add(Strand(name, name, process(self, store)), None)

    def add(self, strand, value):
        self.strands[strand.path] = strand
        self.resume(strand, value)

    def resume(self, strand, value, error=None):
        before, self.current = self.current, strand
        try:
            strand.waiting = None
            if error is None:
                request = strand.coroutine.send(value)
            else:
                request = strand.coroutine.throw(error)
            if type(request) is Request:
                strand.waiting = request
            else:
                self.fork(strand, request.coroutines)
        except StopIteration as finished:
            self.finish(strand, finished.value, None)
        except (WasmholdError, BucketError) as failed:
            self.finish(strand, None, failed)
        except Violation:
            raise
        except Exception as broken:
            raise Violation(f"{type(broken).__name__}: {broken}") from broken
        finally:
            self.current = before

    def fork(self, strand, coroutines):
        strand.forks += 1
        strand.results, strand.left = [None] * len(coroutines), len(coroutines)
        if not coroutines:
            self.resume(strand, [])
        for i, coroutine in enumerate(coroutines):
            path = f"{strand.path}/{strand.forks}.{i}"
            self.add(Strand(path, strand.process, coroutine, strand, i), None)

    def finish(self, strand, value, error):
        del self.strands[strand.path]
        parent = strand.parent
        if parent is None:
            if error is not None:
                if isinstance(error, BucketError):
                    raise Violation(f"{type(error).__name__} reached the caller")
                self.log.append(("failed", strand.path))
            return
        parent.results[strand.slot] = (value, error)
        parent.left -= 1
        if not parent.left and parent.path in self.strands:
            bad = [failed for _, failed in parent.results if failed is not None]
            parent.history = hash((parent.history, tuple(map(str, parent.results))))
            values = [result for result, _ in parent.results]
            self.resume(parent, values, bad[0] if bad else None)

    # ---- the bucket

    def apply(self, request):
        store, key = self.store, request.key
        match request.kind:
            case "get":
                body = store.get(key)
                return None if body is None else (body, etag_of(body))
            case "has":
                return key in store
            case "list":
                keys = sorted(k for k in store if k.startswith(key) and k > request.body)
                cut = keys[: self.page]
                entries = [Entry(k, len(store[k]), etag_of(store[k]), 0.0) for k in cut]
                return Page(entries, len(keys) > len(cut))
            case "create":
                if key in store:
                    raise Conflict(key)
                store[key] = request.body
                return etag_of(request.body)
            case "remove" if not self.forgets:
                raise Unsupported
            case "put_data":
                store[key] = request.body
            case "delete":
                store.pop(key, None)
            case kind:
                body = store.get(key)
                if body is None or etag_of(body) != request.etag:
                    raise Conflict(key)
                if kind == "remove":
                    del store[key]
                else:
                    store[key] = request.body
                    return etag_of(request.body)

    def serve(self, strand, how):
        request, self.steps = strand.waiting, self.steps + 1
        value = error = None
        if how in ("go", "echo"):
            try:
                value = self.apply(request)
            except (Conflict, Unsupported) as refused:
                error = refused
        if how == "late":
            self.net.append(request)
        if how != "go":
            # busy: S3's 409, refused although the condition held.
            value, error = None, Conflict() if how == "busy" else Ambiguous()
            self.faults -= 1
        strand.history = hash((strand.history, how, repr(value), type(error)))
        self.resume(strand, value, error)
        if request.kind in WRITES:
            self.check()

    # ---- choices

    def choices(self):
        found = []
        for path in sorted(self.strands):
            request = self.strands[path].waiting
            if request is not None:
                found.append(("go", path))
                if self.faults and request.kind in WRITES:
                    found += [("lost", path), ("late", path), ("echo", path)]
                    if request.kind in CONDITIONAL:
                        found.append(("busy", path))
        found += [("deliver", i) for i in range(len(self.net))]
        if self.crashes:
            processes = sorted({strand.process for strand in self.strands.values()})
            found += [("crash", process) for process in processes]
        return found

    def do(self, choice):
        what, who = choice
        if what == "deliver":
            try:
                self.apply(self.net.pop(who))
            except (Conflict, Unsupported):
                pass
            self.check()
        elif what == "crash":
            self.crash(who)
        else:
            self.serve(self.strands[who], what)

    def crash(self, process):
        self.crashes -= 1
        for path in [p for p, strand in self.strands.items() if strand.process == process]:
            strand = self.strands.pop(path)
            if strand.waiting is not None and strand.waiting.kind in WRITES:
                self.net.append(strand.waiting)  # in flight: may still arrive
            strand.end()
        self.log.append(("failed", process))

    def close(self):
        for strand in self.strands.values():
            strand.end()
        self.strands.clear()

    def drain(self):
        while self.strands:
            path = min(p for p, strand in self.strands.items() if strand.waiting is not None)
            self.serve(self.strands[path], "go")

    def key(self):
        return hash(
            (
                frozenset(self.store.items()),
                frozenset((p, s.history, s.count) for p, s in self.strands.items()),
                tuple(sorted(str(request.tuple()) for request in self.net)),
                self.crashes,
                self.faults,
                tuple(self.log),
            )
        )

    # ---- what clients were told

    def begin(self, kind, *what):
        self.log.append(("begin", len(self.log), kind, *what))
        return len(self.log) - 1

    def acknowledge(self, operation):
        self.log.append(("ack", operation))

    # ---- after every change, and at the end

    def check(self):
        if not self.quiet:
            invariants.check(self.store, self.log, self.scenario)

    def settle(self):
        """Everything is still now; what nobody needs must go."""
        self.crashes = self.faults = 0
        while True:
            for _ in range(16):
                before = dict(self.store)
                self.spawn("Z", lambda world, store: self._collect(store))
                self.drain()
                if before == self.store:
                    break
            else:
                raise Violation("collection does not come to rest")
            self.check()
            invariants.check_no_garbage(self.store, self.forgets)
            if not self.net:
                return
            self.do(("deliver", 0))  # one that came very late

    async def _collect(self, store):
        await store.collect(0, untagged=self.scenario.untagged)


def show(world, request):
    """A request, in a line, with the names of the scenario."""
    text = ""
    if request.body and request.kind in CONDITIONAL:
        cell = product_cells.unpack(request.body, "")
        text = f" {cell.state.name} {cell.payload}"
    now = world.store.get(request.key)
    if now is None or request.key.startswith("data/"):
        there = "nothing" if now is None else "data"
    else:
        there = product_cells.unpack(now, "").state.name
    fits = request.etag is not None and now is not None and etag_of(now) == request.etag
    etag = "" if request.etag is None else ", the ETag fits" if fits else ", the ETag does not fit"
    return content.named(f"{request.kind} {request.key}{text}   (there: {there}{etag})")
