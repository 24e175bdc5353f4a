from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasmhold.oci.descriptor import Descriptor
from wasmhold.oci.digest import Digest
from wasmhold.oci.manifest import Manifest
from wasmhold.oci.media_types import IMAGE_INDEX, IMAGE_MANIFEST
from wasmhold.registry.accept import accepts, choose
from wasmhold.testing.covers import covers

# fmt: off
ACCEPTS = [
    # Accept,                                   takes a/b
    (("a/b",),                                  True),
    (("A/B",),                                  True),
    (("a/*",),                                  True),
    (("*/*",),                                  True),
    (("a/c", "a/b"),                            True),
    (("a/c",),                                  False),
    (("b/*",),                                  False),
    (("a/b;q=0",),                              False),
    (("a/b;q=0.0", "*/*"),                      False),
    (("*/*;q=0", "a/b"),                        True),
    (("a/b;q=0.1",),                            True),
    (("a/b;q=x",),                              True),
    (("a/b;version=1",),                        True),
]
# fmt: on


@covers("OW-131")
@pytest.mark.parametrize(("accept", "takes"), ACCEPTS)
def test_accepts(accept, takes):
    assert accepts(accept, "a/b") is takes


@given(st.lists(st.text(max_size=12)).map(tuple), st.text(max_size=12))
def test_any_header_takes_or_does_not(accept, media_type):
    assert accepts(accept, media_type) in (True, False)


def child(number, media_type=IMAGE_MANIFEST, **platform):
    return Descriptor(media_type, Digest.of(bytes([number])), 1, platform=platform or None)


# fmt: off
CHILDREN = [
    # children of the index,                                                which is chosen
    ((child(1, os="linux", architecture="arm64"), child(2, os="linux", architecture="amd64")), 1),
    ((child(1, os="windows", architecture="amd64"), child(2)),              0),
    ((child(1, IMAGE_INDEX), child(2)),                                     1),
    ((child(1, IMAGE_INDEX),),                                              None),
    ((),                                                                    None),
]
# fmt: on


@covers("OW-131")
@pytest.mark.parametrize(("children", "chosen"), CHILDREN)
def test_choose(children, chosen):
    found = choose(Manifest(IMAGE_INDEX, manifests=children), (IMAGE_MANIFEST,))
    assert found == (None if chosen is None else children[chosen])
