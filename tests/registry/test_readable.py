"""What looks at several repositories takes only those that the actor may read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasmhold.oci import limits
from wasmhold.oci.digest import Digest
from wasmhold.ports.actor import Actor
from wasmhold.ports.body import BytesBody
from wasmhold.ports.runtime import run
from wasmhold.protocol import operations as op
from wasmhold.protocol.results import BlobStored, UploadStarted
from wasmhold.registry import Registry
from wasmhold.testing.covers import covers

D = Digest.of(b"x")


class Repositories:
    """A store with names and where the blob is; it remembers what it was asked."""

    def __init__(self, names, holders=()):
        self.names, self.holders = sorted(names), set(holders)
        self.most, self.looked_at, self.sources = 0, [], []

    async def repositories(self, after, limit):
        found = [name for name in self.names if name > after][:limit]
        self.most = max(self.most, len(found))
        return found

    async def blob_stat(self, name, digest):
        self.looked_at.append(name)
        return 1 if name in self.holders else None

    async def blob_mount(self, name, digest, source):
        self.sources.append(source)
        return 1 if source is None or source in self.holders else None

    async def upload_open(self, name, algorithm):
        return "session"


def perform(store, operation, reads):
    return run(Registry(store).perform(Actor("x", reads=reads), operation, BytesBody()))


@covers("OW-143")
@given(st.sets(st.text("ab/", min_size=1, max_size=4)), st.data())
def test_pages_are_full_and_name_what_may_be_read(names, data):
    may = data.draw(st.sets(st.sampled_from(sorted(names)))) if names else set()
    limit = data.draw(st.integers(1, 5))
    store, after, shown = Repositories(names), "", []
    while True:
        page = perform(store, op.ListRepositories(limit, after), may.__contains__)
        shown += page.names
        assert page.more == (len(shown) < len(may))
        if not page.more:
            break
        assert len(page.names) == limit
        after = page.names[-1]
    assert shown == sorted(may)


@covers("OW-143")
def test_many_hidden_names_are_never_in_memory_together():
    store = Repositories([f"a{i:05}" for i in range(30_000)] + ["z"])
    page = perform(store, op.ListRepositories(10), lambda name: name == "z")
    assert (page.names, page.more) == (("z",), False)
    assert store.most <= 2_000
    assert perform(store, op.ListRepositories(0), lambda name: True).names == ()


# fmt: off
MOUNTS = [
    # ?from=,   who holds it,   may be read,  is it mounted, and which sources the store was asked for
    ("a",       {"a"},          {"a"},        True,          ["a"]),
    ("a",       {"a"},          {"b"},        False,         []),
    ("a",       set(),          {"a"},        False,         ["a"]),
    (None,      {"a", "c"},     {"b", "c"},   True,          ["c"]),
    (None,      {"a"},          {"b", "c"},   False,         []),
    (None,      {"a"},          set(),        False,         []),
    (None,      {"a"},          None,         True,          [None]),
    ("a",       {"a"},          None,         True,          ["a"]),
]
# fmt: on


@covers("OW-140")
@pytest.mark.parametrize(("source", "holders", "may", "mounted", "asked"), MOUNTS)
def test_a_mount_takes_what_may_be_read(source, holders, may, mounted, asked):
    store = Repositories(["a", "b", "c"], holders)
    reads = None if may is None else may.__contains__
    result = perform(store, op.MountBlob("target", D, source), reads)
    assert type(result) is (BlobStored if mounted else UploadStarted)
    assert store.sources == asked
    assert set(store.looked_at) <= (may or set())


@covers("OW-140")
def test_a_mount_without_source_looks_at_so_many_and_no_more():
    names = [f"{'team' if i % 2 else 'other'}/{i:05}" for i in range(6_000)]
    store = Repositories(names)
    result = perform(store, op.MountBlob("a", D), lambda name: name.startswith("team/"))
    assert isinstance(result, UploadStarted)
    assert len(store.looked_at) == limits.MOUNT_SOURCES
    assert store.most <= 2_000
