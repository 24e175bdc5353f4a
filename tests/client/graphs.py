"""Content graphs, written into any place, and what a place holds of one."""

import json
from dataclasses import replace

from wasmhold.oci import media_types
from wasmhold.oci.descriptor import Descriptor
from wasmhold.oci.digest import Digest
from wasmhold.oci.manifest import parse_manifest
from wasmhold.testing.repository_suite import (
    document,
    image,
    index,
    named,
    pull,
    push,
    push_image,
)

FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
EMPTY = "application/vnd.oci.empty.v1+json"


async def single(place):
    await push_image(place, "single", "v1")


async def nested_indexes(place):
    images = [await push_image(place, text) for text in ("amd64", "arm64", "wasm")]
    platforms = ["amd64", "arm64", "wasm"]
    children = [
        replace(named(stored), platform={"os": "linux", "architecture": arch}).to_json()
        for stored, arch in zip(images, platforms, strict=True)
    ]
    inner = document(mediaType=media_types.IMAGE_INDEX, manifests=children[:2])
    await place.manifest_put(inner)
    top = document(
        mediaType=media_types.IMAGE_INDEX,
        manifests=[named(inner).to_json(), children[2], children[0]],
    )
    await place.manifest_put(top, ["v1"])


async def referrers_three_levels(place):
    stored = await push_image(place, "subject", "v1")
    for level in ("signature", "of the signature", "and of that"):
        kind = f"application/x.{level.replace(' ', '.')}"
        await push_image(place, f"another {level}", subject=named(stored).to_json())
        stored = await push_image(place, level, subject=named(stored).to_json(), artifactType=kind)


async def sha512(place):
    config = await push(place, b"config", algorithm="sha512")
    layer = await push(place, b"layer" * 1000, algorithm="sha512")
    child = image(config, layer, algorithm="sha512")
    await place.manifest_put(child)
    await place.manifest_put(index(child), ["v1"])


async def empty_layers(place):
    empty = await push(place, b"{}", EMPTY)
    nothing = await push(place, b"")
    await place.manifest_put(image(empty, empty, nothing, nothing), ["v1"])
    await place.manifest_put(document(mediaType=media_types.IMAGE_INDEX, manifests=[]), ["none"])


async def foreign_layers(place):
    config = await push(place, b"config of foreign")
    elsewhere = Descriptor(FOREIGN, Digest.of(b"windows"), 7, urls=("https://example.com/windows",))
    listed = await push(place, b"also elsewhere")
    listed = replace(listed, urls=("https://example.com/layer",))
    absent = replace(elsewhere, media_type="application/wasm", digest=Digest.of(b"only there"))
    await place.manifest_put(image(config, elsewhere, listed, absent), ["v1"])


async def shared_by_many_tags(place):
    stored = await push_image(place, "one", "v1", "v1.0", "latest")
    other = await push_image(place, "two", "v2")
    await place.manifest_put(index(stored, other), ["both"])


GRAPHS = {
    graph.__name__: graph
    for graph in (
        single,
        nested_indexes,
        referrers_three_levels,
        sha512,
        empty_layers,
        foreign_layers,
        shared_by_many_tags,
    )
}


async def holdings(place):
    """Everything that tags and referrers lead to: tags, manifests and blobs, byte for byte."""
    tags, after = {}, ""
    while page := await place.tags(after, 3):
        for tag in page:
            tags[tag] = str((await place.resolve(tag)).digest)
        after = page[-1]
    manifests, blobs = {}, {}
    todo = [Digest.parse(digest) for digest in tags.values()]
    while todo:
        digest = todo.pop()
        if str(digest) in manifests:
            continue
        stored = await place.manifest_get(digest)
        manifests[str(digest)] = stored.media_type, stored.content
        manifest = parse_manifest(stored.content, stored.media_type)
        todo += [child.digest for child in manifest.manifests]
        todo += [d.digest for d in await place.referrers(digest)]
        for child in (manifest.config, *manifest.layers):
            if child is not None and await place.blob_size(child.digest) is not None:
                blobs[str(child.digest)] = await pull(place, child.digest)
    return {"tags": tags, "manifests": manifests, "blobs": blobs}


def entries(folder):
    """What other tools read of a layout."""
    return json.loads((folder / "index.json").read_text())["manifests"]
