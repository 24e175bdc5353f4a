"""A repository in a registry passes the suite of all places: ours, olareg, distribution."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from tests.client.remotes import client, distribution, needs, olareg
from tests.registries import serving
from wasmhold.client.aio import AsyncioRuntime
from wasmhold.oci.errors import Unsupported
from wasmhold.testing.covers import covers
from wasmhold.testing.repository_suite import REPOSITORY_CHECKS, check_repository

_NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def ours():
    with serving("--log", "off") as server:
        yield server


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    with olareg(tmp_path_factory.mktemp("olareg")) as server:
        yield server


@pytest.fixture(scope="module")
def docker(tmp_path_factory):
    with distribution(tmp_path_factory.mktemp("distribution")) as server:
        yield server


# What a registry cannot, and what we say then.
REFUSED = {
    ("distribution", "a-manifest-with-sha512"): "keeps no manifests by sha512",
}


def check(server, name):
    with client() as made:
        check_repository(
            lambda: made.repository(server.host, f"suite/number{next(_NUMBERS)}"), [name]
        )
        assert made.told == []


@covers("DS-126", "DS-128", "DS-129", "DS-130", "DS-131")
@pytest.mark.parametrize("name", REPOSITORY_CHECKS)
def test_suite(ours, name):
    check(ours, name)


@pytest.mark.parametrize("name", REPOSITORY_CHECKS)
def test_suite_under_asyncio(ours, name):
    made = []

    def make():
        made.append(client(runtime=AsyncioRuntime()))
        return made[-1].__enter__().repository(ours.host, f"suite/number{next(_NUMBERS)}")

    check_repository(make, [name], drive=asyncio.run)
    for one in made:
        one.__exit__(None, None, None)


@covers("DS-126", "DS-128", "DS-130")
@pytest.mark.peer
@needs("olareg")
@pytest.mark.parametrize("name", REPOSITORY_CHECKS)
def test_olareg(theirs, name):
    check(theirs, name)


@covers("DS-124", "DS-125", "DS-126", "DS-127")
@pytest.mark.peer
@needs("distribution")
@pytest.mark.parametrize("name", REPOSITORY_CHECKS)
def test_distribution(docker, name):
    if ("distribution", name) in REFUSED:
        with pytest.raises(Unsupported, match=REFUSED["distribution", name]):
            check(docker, name)
    else:
        check(docker, name)
