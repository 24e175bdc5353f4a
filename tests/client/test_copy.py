"""Copies between all pairs of local places."""

from contextlib import aclosing

import pytest

from tests.client.graphs import GRAPHS, holdings
from tests.client.test_places import PLACES
from wasmhold.client.copy import copy_all
from wasmhold.client.plan import Options
from wasmhold.client.runtime import ThreadRuntime
from wasmhold.ports.runtime import run


def options(**more):
    return Options(referrers=True, **more)


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("here", PLACES)
@pytest.mark.parametrize("there", PLACES)
def test_all_pairs(here, there, graph, tmp_path):
    runtime = ThreadRuntime()

    async def work():
        source, destination = PLACES[here](tmp_path), PLACES[there](tmp_path)
        async with aclosing(source), aclosing(destination):
            await GRAPHS[graph](source)
            await source.flush()
            wanted = await holdings(source)
            done = await copy_all(source, destination, runtime=runtime, options=options())
            assert await holdings(destination) == wanted
            assert done.there == 0
            again = await copy_all(source, destination, runtime=runtime, options=options())
            assert (again.blobs, again.manifests, again.moved) == (0, 0, 0)
            assert again.there > 0
            assert await holdings(destination) == wanted

    run(work())
