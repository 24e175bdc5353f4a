"""Every local place: the suite."""

import itertools

import pytest

from wasmhold.client.places.archive import open_archive
from wasmhold.client.places.layout import open_layout
from wasmhold.client.places.memory import MemoryRepository
from wasmhold.client.places.store import open_store
from wasmhold.client.runtime import ThreadRuntime
from wasmhold.ports.runtime import run
from wasmhold.servers.asgi import SystemRandomness
from wasmhold.testing.repository_suite import REPOSITORY_CHECKS, check_repository

_NUMBERS = itertools.count()


def memory(folder):
    return MemoryRepository(ThreadRuntime())


def layout(folder):
    return open_layout(str(folder / f"layout{next(_NUMBERS)}"), ThreadRuntime())


def archive(folder, suffix=".tar"):
    return open_archive(str(folder / f"archive{next(_NUMBERS)}{suffix}"), ThreadRuntime())


def store(folder):
    runtime, root = ThreadRuntime(), str(folder / f"store{next(_NUMBERS)}")
    return run(open_store(root, "demo/app", runtime, SystemRandomness(), create=True))


PLACES = {
    "store": store,
    "memory": memory,
    "oci": layout,
    "oci-archive": archive,
    "oci-archive, gzip": lambda folder: archive(folder, ".tar.gz"),
}


@pytest.mark.parametrize("check", REPOSITORY_CHECKS)
@pytest.mark.parametrize("place", PLACES)
def test_suite(place, check, tmp_path):
    check_repository(lambda: PLACES[place](tmp_path), [check])
