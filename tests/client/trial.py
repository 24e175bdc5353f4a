"""Copies of random graphs through a proxy that breaks things by chance: ``python -m tests.client.trial 500 SEED``.

Each must end whole, or with an error that says its side and step; with no wrong byte, in time, and with no
file left behind; and a second copy on a good way makes it whole.  What breaks in copy NUMBER follows from
SEED and NUMBER alone: ``python -m tests.client.trial 1 SEED NUMBER`` does that one again.  The registry behind
the proxy is ours, or the one whose host and port REGISTRY_HOST says.
"""

from __future__ import annotations

import asyncio
import collections
import faulthandler
import os
import random
import shutil
import sys
import tempfile
import threading
from contextlib import aclosing, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from tests.client.graphs import holdings
from tests.client.remotes import Client
from tests.client.test_places import PLACES
from wasmhold.client import uploads
from wasmhold.client.aio import AsyncioRuntime
from wasmhold.client.copy import copy_all
from wasmhold.client.events import Side
from wasmhold.client.failure import CopyFailed
from wasmhold.client.places.memory import MemoryRepository
from wasmhold.client.plan import Options
from wasmhold.client.runtime import ThreadRuntime
from wasmhold.client.transport import Options as Reach
from wasmhold.oci.errors import NameUnknown, WasmholdError
from wasmhold.ports.runtime import run
from wasmhold.testing.proxy import Proxy
from wasmhold.testing.registry import Registry
from wasmhold.testing.repository_suite import image, index, named, push

LIMIT_S = 60.0  # of one copy; most take a tenth of a second
ALL = Options(referrers=True, concurrency=4)
REACH = Reach(read_timeout_s=1)

# fmt: off
# What may meet which requests.
OPERATIONS = {
    "down": ["manifest-get", "manifest-head", "blob-get", "blob-get", "blob-get", "tags", "referrers", "*"],
    "up":   ["manifest-get", "manifest-head", "manifest-put", "blob-head", "upload-start", "upload-chunk",
             "upload-chunk", "upload-finish", "upload-finish", "upload-status", "*"],
}
EFFECTS = [
    "close", "truncate", "cut", "cut-request", "lost", "corrupt", "corrupt-request", "slow=3000000", "silence",
    "wrong-digest", "wrong-length=1", "wrong-length=-7", "wrong-length=100000", "redirect", "redirect-loop",
    "401", "403", "404", "416", "429", "500", "502", "503", "504",
]
OF_BYTES = ["cut", "cut", "truncate", "corrupt", "corrupt-request", "cut-request", "wrong-length=1", "wrong-length=-7"]
WITH_BYTES = ["blob-get", "upload-chunk", "upload-finish", "manifest-put", "manifest-get"]
# Nobody can tell a list that was damaged and still is one, nor 404 from a registry that has no lists of referrers.
UNTOLD = {(kind, effect) for kind in ("tags", "referrers", "*") for effect in ("corrupt", "404")}
# fmt: on


class Impatient(ThreadRuntime):
    """Waits as good as never between two tries."""

    async def sleep(self, seconds):
        await super().sleep(min(seconds, 0.005))


class ImpatientLoop(AsyncioRuntime):
    async def sleep(self, seconds):
        await super().sleep(min(seconds, 0.005))


@dataclass
class Outcome:
    number: int
    way: str
    rules: list[tuple[str, str]]
    ended: str  # "whole", or the class of the cause
    said: str = ""
    resumed: int = 0  # downloads and uploads that went on behind their beginning
    faults: list[str] = field(default_factory=list)  # what must not be

    def __str__(self):
        rules = "; ".join(" ".join(rule) for rule in self.rules)
        return f"{self.number} {self.way} [{rules}]: {self.ended} {self.said} {self.faults or ''}"


@dataclass
class There:
    """A registry that runs elsewhere."""

    host: str


async def random_graph(place, chance):
    """Images, indexes in indexes and referrers, with shared, empty and large layers; some by sha512."""
    algorithm = chance.choice(["sha256", "sha256", "sha512"])
    sizes = [0, 1, 2, chance.randrange(100_000), chance.randrange(100_000), 400_000, 1_500_000]
    blobs = [
        await push(place, chance.randbytes(chance.choice(sizes)), algorithm=algorithm)
        for _ in range(chance.randrange(1, 7))
    ]
    stored = []
    for _ in range(chance.randrange(1, 5)):
        kind, below = chance.choice(["image", "image", "index", "referrer"]), stored
        if kind == "index" and stored:
            below = chance.sample(stored, chance.randrange(1, len(stored) + 1))
            made = index(*below)
        else:
            layers = chance.choices(blobs, k=chance.randrange(1, 5))
            more = {}
            if kind == "referrer" and stored:
                more["subject"] = named(chance.choice(stored)).to_json()
            made = image(
                layers[0], *layers, algorithm=algorithm, annotations={"x": str(len(stored))}, **more
            )
        # Referrers are found by their subject; the rest needs a tag.
        tags = [f"t{len(stored)}"] if "subject" not in made.content.decode() else []
        await place.manifest_put(made, tags)
        stored.append(made)


def random_rules(way, chance):
    rules = []
    for _ in range(chance.choice([1, 1, 2, 3])):
        kind = chance.choice(OPERATIONS[chance.choice(way.split("+"))])
        effect = chance.choice(
            OF_BYTES if kind in WITH_BYTES and chance.random() < 0.6 else EFFECTS
        )
        if (kind, effect) in UNTOLD:
            effect = "cut"
        if effect in ("cut", "cut-request"):
            effect = f"{effect}={chance.choice([0, 1, chance.randrange(2000), chance.randrange(500_000)])}"
        count = "1" if effect == "silence" else chance.choice(["1", "1", "2", "3", "999"])
        rules.append((kind, f"{effect}:{count}"))
    return rules


async def held(place):
    try:
        return await holdings(place)
    except NameUnknown:
        return {"tags": {}, "manifests": {}, "blobs": {}}


def foreign(found, wanted):
    """What is in a destination and was not in the source."""
    return [
        f"{kind}: {key}"
        for kind in ("tags", "manifests", "blobs")
        for key, value in found[kind].items()
        if wanted[kind].get(key) != value
    ]


def strays(folder, kind):
    """Files in a local place that nobody needs.  Names of content are digests."""
    out = []
    for path in folder.rglob("*"):
        inside = path.relative_to(folder).parts
        if path.is_dir():
            continue
        if "blobs" in inside:
            needed = len(path.name) in (64, 128) and "." not in path.name
        elif kind == "store":
            needed = ".part" not in path.name and not {"tmp", "uploads"} & set(inside[:-1])
        else:
            needed = path.name in ("index.json", "oci-layout") or len(inside) == 1
        if not needed:
            out.append("/".join(inside))
    return out


def resumptions(proxy):
    """How many requests went on behind the beginning, and what of that was wrong."""
    resumed, wrong, reached = 0, [], {}
    for passed in proxy.passed("blob-get"):
        start = int(passed.fields.get("range", "bytes=0-")[6:].rstrip("-"))
        resumed += start > 0
        if start > reached.get(passed.target, 0):
            wrong.append(
                f"{passed.target} from {start}, and {reached.get(passed.target, 0)} bytes had come"
            )
        if passed.status in (200, 206):
            reached[passed.target] = max(reached.get(passed.target, 0), start + passed.received)
    for passed in proxy.passed("upload-chunk"):
        resumed += not passed.fields["content-range"].startswith("0-")
    return resumed, wrong


@contextmanager
def small_chunks():
    """What is measured in mebibytes elsewhere is a tenth of that here."""
    before = uploads.CHUNK, uploads._LEAST_CHUNK, uploads._PROGRESS
    uploads.CHUNK, uploads._LEAST_CHUNK, uploads._PROGRESS = 300_000, 30_000, 100_000
    try:
        yield
    finally:
        uploads.CHUNK, uploads._LEAST_CHUNK, uploads._PROGRESS = before


def in_time(work, cancel):
    """What `work` raises; TimeoutError with the stacks of all threads when it does not end."""
    raised = []

    def attempt():
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(LIMIT_S)
    if thread.is_alive():
        faulthandler.dump_traceback(all_threads=True)
        cancel()
        thread.join(10)
        return TimeoutError(f"not done in {LIMIT_S:g} s")
    return raised[0] if raised else None


def trial(registry, seed, number):
    """One copy, from or to what `registry.host` names.  What came of it."""
    chance = random.Random(f"{seed}/{number}")
    way = chance.choice(["down", "up", "down+up"])
    rules = random_rules(way, chance)
    kind = chance.choice(list(PLACES))
    folder = Path(tempfile.mkdtemp(prefix="trial"))
    runtime = Impatient()
    clients = Client(REACH, runtime=runtime), Client(runtime=Impatient())
    outcome = Outcome(number, f"{way} {kind}", rules, "whole")
    try:
        with Proxy(registry.host, rules, seed=number) as proxy:
            run(_trial(registry, proxy, clients, way, kind, folder, chance, outcome))
            outcome.resumed, wrong = resumptions(proxy)
            outcome.faults += wrong
    finally:
        for made in clients:
            made.transport.close()
        shutil.rmtree(folder)
    return outcome


async def _trial(registry, proxy, clients, way, kind, folder, chance, outcome):
    broken, good = clients
    model = MemoryRepository(ThreadRuntime())
    await random_graph(model, chance)
    wanted = await holdings(model)

    def remote(made, host, what):
        return made.repository(host, f"trial{outcome.number}/{what}", to_write=what == "to")

    if way == "up":
        source = PLACES[kind](folder)
        await copy_all(model, source, runtime=ThreadRuntime(), options=ALL)
    else:
        await copy_all(
            model, remote(good, registry.host, "from"), runtime=ThreadRuntime(), options=ALL
        )
        source = remote(broken, proxy.host, "from")
    if way == "down":
        target = clean = PLACES[kind](folder)
    else:
        target, clean = remote(broken, proxy.host, "to"), remote(good, registry.host, "to")

    def with_threads():
        run(copy_all(source, target, runtime=broken.runtime, options=ALL))

    async def with_a_loop():
        made = Client(REACH, runtime=ImpatientLoop())
        try:
            here, there = remote(made, proxy.host, "from"), remote(made, proxy.host, "to")
            await copy_all(here, there, runtime=made.runtime, options=ALL)
        finally:
            made.transport.close()
            made.runtime.close()

    attempt = with_threads
    if way == "down+up" and outcome.number % 2:
        outcome.way += ", asyncio"
        attempt = lambda: asyncio.run(with_a_loop())  # noqa: E731
    async with aclosing(source), aclosing(target):
        error = in_time(attempt, lambda: (broken.runtime.cancel(), broken.transport.close()))
        judge(error, outcome)
        if isinstance(error, TimeoutError):
            return
        found = await held(clean)
        outcome.faults += foreign(found, wanted)
        if error is None and found != wanted:
            outcome.faults.append("it is not whole")
        if error is not None:
            # What came stays, and the next copy goes on from there.
            again = source if way == "up" else remote(good, registry.host, "from")
            await copy_all(again, clean, runtime=good.runtime, options=ALL)
            if await held(clean) != wanted:
                outcome.faults.append("a second copy did not make it whole")
    outcome.faults += strays(folder, kind)


def judge(error, outcome):
    """An error that is none of ours, or not clear, is a fault."""
    if error is None:
        return
    outcome.said = str(error)
    outcome.ended = type(error).__name__
    if isinstance(error, CopyFailed):
        outcome.ended = type(error.cause).__name__
        if not isinstance(error.side, Side) or not error.step or error.place not in str(error):
            outcome.faults.append("it does not say side, step and place")
    else:
        outcome.faults.append("not a CopyFailed")
    unclear = ("Traceback", "object at 0x", "Errno", "None", "HTTPConnection")
    outcome.faults += [f"it says {text}" for text in unclear if text in outcome.said]
    if not isinstance(error, WasmholdError) or len(outcome.said) > 2000:
        outcome.faults.append("no error for people")


def main(count, seed, first=0):
    ends, effects, resumed, faults = collections.Counter(), collections.Counter(), 0, 0
    there = os.environ.get("REGISTRY_HOST")
    with nullcontext(There(there)) if there else Registry() as registry, small_chunks():
        for number in range(first, first + count):
            outcome = trial(registry, seed, number)
            ends[outcome.ended] += 1
            effects.update(error.partition(":")[0].partition("=")[0] for _, error in outcome.rules)
            resumed += outcome.resumed
            faults += bool(outcome.faults)
            if outcome.faults or count == 1:
                print(outcome, flush=True)
    print(
        f"{count} copies, seed {seed}: {faults} with a fault; {resumed} requests went on behind the beginning"
    )
    print("ended:", ", ".join(f"{name} {n}" for name, n in ends.most_common()))
    print("met:", ", ".join(f"{name} {n}" for name, n in effects.most_common()))
    return faults


if __name__ == "__main__":
    sys.exit(bool(main(*map(int, sys.argv[1:]))))
