"""The blobs and manifests that are pushed, by short names."""

from __future__ import annotations

from wasmhold.oci import media_types
from wasmhold.oci.digest import Digest
from wasmhold.stores.directory import paths
from wasmhold.testing import store_suite as suite

BLOBS = {"d": b"the blob d", "e": b"the blob e"}


def digest(name):
    return Digest.of(BLOBS[name]) if name in BLOBS else MANIFESTS[name][0].digest


def _child(name):
    return {"mediaType": media_types.IMAGE_MANIFEST, "digest": str(digest(name)), "size": 1}


MANIFESTS = {
    "m": suite.image(Digest.of(BLOBS["d"]), annotations={"name": "m"}),
    "n": suite.image(Digest.of(BLOBS["d"]), annotations={"name": "n"}),
    "o": suite.image(Digest.of(BLOBS["e"]), annotations={"name": "o"}),
}
MANIFESTS["i"] = suite.index(_child("m"))


def named(text):
    """The text with short names instead of digests."""
    for name in (*BLOBS, *MANIFESTS):
        found = digest(name)
        for form in (str(found), paths.write_short(found), found.encoded):
            text = text.replace(form, name)
    return text
