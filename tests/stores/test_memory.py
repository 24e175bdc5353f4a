"""The memory store: the suite, and what is its own."""

import itertools

import pytest

from wasmhold.ports.runtime import Inline, run
from wasmhold.stores.memory import MemoryStore, SortedKeys
from wasmhold.testing.covers import covers
from wasmhold.testing.store_suite import CHECKS, check_store


class Counter:
    """Randomness that can be repeated."""

    def __init__(self, first=0):
        self._numbers = itertools.count(first)

    def token(self, size):
        return next(self._numbers).to_bytes(size, "big")


def make_store(now=lambda: 1e9):
    return MemoryStore(Inline(now, lambda seconds: None), Counter())


@pytest.mark.parametrize("name", CHECKS)
@covers("BR-017", "BR-096")
def test_suite(name):
    check_store(make_store, [name])


def test_sorted_keys():
    keys, present = SortedKeys(), set()
    names = [f"k{i * 7919 % 10_007:05}" for i in range(10_007)]
    for name in names:
        keys.add(name)
        present.add(name)
    for name in names[::3]:
        keys.remove(name)
        present.discard(name)
    assert list(keys.behind("")) == sorted(present)
    for start in ("k", "k00001", "k05000", "k05000x", "k99999"):
        assert list(keys.behind(start)) == sorted(k for k in present if k > start)
    for name in sorted(present):
        keys.remove(name)
    assert list(keys.behind("")) == []
    keys.add("again")
    assert list(keys.behind("")) == ["again"]


def test_collects_once_an_hour():
    clock = [0.0]
    store = make_store(lambda: clock[0])
    assert run(store.maintain()) == 3600
    clock[0] = 1800.0
    assert run(store.maintain()) == 1800
    clock[0] = 3600.0
    assert run(store.maintain()) == 3600
