"""A blob that was opened for who is cancelled meanwhile is closed."""

import asyncio

import pytest

from tests.client.losing import Losing, open_files
from wasmhold.client.places.archive import open_archive
from wasmhold.client.places.layout import open_layout
from wasmhold.client.runtime import ThreadRuntime
from wasmhold.oci.manifest import parse_manifest
from wasmhold.ports.runtime import run
from wasmhold.testing.repository_suite import push_image


@pytest.mark.parametrize("open_place", [open_layout, open_archive])
def test_a_blob_that_nobody_gets_is_closed(tmp_path, open_place):
    path = str(tmp_path / "place.tar")
    written = open_place(path, ThreadRuntime())
    run(push_image(written, "hello", "v1"))
    run(written.flush())
    run(written.aclose())

    async def work():
        runtime = Losing()
        place = open_place(path, runtime)
        manifest = await place.manifest_get("v1")
        blob = parse_manifest(manifest.content, manifest.media_type).layers[0].digest
        await (await place.blob_open(blob)).aclose()
        before = open_files()
        runtime.number = 1
        with pytest.raises(asyncio.CancelledError):
            await place.blob_open(blob)
        assert open_files() == before
        await place.aclose()
        runtime.close()

    asyncio.run(work())
