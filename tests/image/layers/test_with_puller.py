"""Layers as the puller gives them, from a registry."""

from __future__ import annotations

import asyncio

import wasmhold
from tests.cli.program import done
from tests.image.layers.trees import read_tree
from wasmhold.sync import ImagePuller, LayerUnpacker
from wasmhold.testing.covers import covers


@covers("ZL-810")
def test_layers_of_a_pull(host, tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("hello\n" * 100)
    image = f"{host}/demo/site:v1"
    done("pack", tmp_path / "site", "-o", image)

    async def pull() -> None:
        cache = wasmhold.BlobCache.memory()
        async with wasmhold.ImagePuller(cache) as puller:
            manifest, layers = await puller.pull(image)
            unpacker = wasmhold.LayerUnpacker(tmp_path / "streams")
            for layer in layers:
                await unpacker.unpack_layer(
                    await layer.open(), layer.media_type, digest=layer.digest
                )
            await wasmhold.LayerUnpacker(tmp_path / "cache").unpack_image(manifest, cache)

    asyncio.run(pull())
    with ImagePuller() as puller:
        for layer in puller.pull_image(image):
            with layer.open() as stream:
                LayerUnpacker(tmp_path / "blocking").unpack_layer(stream, layer.media_type)
    done("unpack", image, tmp_path / "command")
    for name in ("streams", "cache", "blocking", "command"):
        assert read_tree(tmp_path / name) == read_tree(tmp_path / "site")
