"""Copies between registries: byte for byte, and once."""

from __future__ import annotations

import itertools
from contextlib import ExitStack, aclosing

import pytest

from tests.client.graphs import GRAPHS, holdings
from tests.client.remotes import client, distribution, needs, olareg
from tests.registries import serving
from wasmhold.client.copy import copy_all
from wasmhold.client.events import Mounted
from wasmhold.client.plan import Options
from wasmhold.oci.errors import WasmholdError
from wasmhold.ports.runtime import run
from wasmhold.testing.covers import covers

_NUMBERS = itertools.count()
OPTIONS = Options(referrers=True)


@pytest.fixture(scope="module")
def registries(tmp_path_factory):
    """Starts a registry when it is first asked for."""
    started = {}
    with ExitStack() as stack:

        def start(name):
            if name not in started:
                folder = tmp_path_factory.mktemp(name)
                begin = {
                    "ours": lambda: serving("--log", "off"),
                    "olareg": lambda: olareg(folder),
                    "distribution": lambda: distribution(folder),
                }[name]
                started[name] = stack.enter_context(begin())
            return started[name]

        yield start


# What a registry cannot keep, and what we say then.
REFUSED = {
    ("distribution", "sha512"): "keeps no manifests by sha512",
    # It takes no `urls` unless it is set up for each.
    ("distribution", "foreign_layers"): "MANIFEST_BLOB_UNKNOWN",
}
PAIRS = [
    ("ours", "ours"),
    *(
        pytest.param(*pair, marks=[pytest.mark.peer, needs(peer)])
        for peer in ("olareg", "distribution")
        for pair in (("ours", peer), (peer, "ours"))
    ),
    *(
        pytest.param(*pair, marks=[pytest.mark.peer, needs("olareg"), needs("distribution")])
        for pair in (("olareg", "distribution"), ("distribution", "olareg"))
    ),
]


async def content(place):
    """What a place holds, but for the tags that stand for an API that it lacks."""
    held = await holdings(place)
    for tag in [tag for tag in held["tags"] if tag.startswith("sha256-")]:
        held["manifests"].pop(held["tags"].pop(tag), None)
    return held


@covers("DS-125", "DS-126", "DS-128", "DS-129")
@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize(("here", "there"), PAIRS)
def test_pairs(registries, here, there, graph):
    with client() as made:

        def place(name, *, to_write=False):
            return made.repository(
                registries(name).host, f"copies/number{next(_NUMBERS)}", to_write=to_write
            )

        async def work():
            source, destination = place(here), place(there, to_write=True)
            async with aclosing(source), aclosing(destination):
                await GRAPHS[graph](source)
                wanted = await content(source)
                events = []
                done = await copy_all(
                    source,
                    destination,
                    runtime=made.runtime,
                    options=OPTIONS,
                    listener=events.append,
                )
                assert await content(destination) == wanted
                mounted = sum(isinstance(event, Mounted) for event in events)
                assert mounted == done.mounted == (done.blobs if here == there else 0)
                again = await copy_all(source, destination, runtime=made.runtime, options=OPTIONS)
                assert (again.blobs, again.moved) == (0, 0)
                assert await content(destination) == wanted

        refusal = REFUSED.get((there, graph)) or REFUSED.get((here, graph))
        if refusal is None:
            run(work())
        else:
            with pytest.raises(WasmholdError, match=refusal):
                run(work())
        assert made.told == []
