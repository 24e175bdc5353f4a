from __future__ import annotations

import pytest

from tests.artifact import manifests as m
from wasmhold.artifact import (
    Format,
    Kind,
    candidates,
    child_by_kind,
    child_by_platform,
)
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import Ambiguous, ArtifactInvalid
from wasmhold.testing.covers import covers


def choose(index, kinds=()):
    """The chosen child's name, or the error's class; `kinds` are those of the candidates."""
    try:
        child = child_by_platform(index)
        if child is None:
            of = [Kind(Format(kind)) for kind in kinds]
            child = child_by_kind(index, zip(candidates(index), of, strict=True))
    except ArtifactInvalid as error:
        return type(error)
    return {str(Digest.of(name.encode())): name for name in "abcd"}[str(child.digest)]


LINUX, ATTESTATION = "linux/amd64", "unknown/unknown"

# fmt: off
INDEXES = [
    # children: name, platform                                        kinds if asked,      chosen
    ([("a", LINUX), ("b", "wasi/wasm")],                              (),                  "b"),
    ([("a", "wasi/wasm32"), ("b", "wasi/wasm"), ("c", "wasip1/wasm"), ("d", "wasip2/wasm")], (), "d"),
    ([("a", "wasi/wasm32"), ("b", "wasi/wasm"), ("c", "wasip1/wasm")], (),                 "c"),
    ([("a", "wasi/wasm32"), ("b", "wasi/wasm")],                      (),                  "b"),
    ([("a", "wasi/wasm32"), ("b", LINUX)],                            (),                  "a"),
    ([("a", "wasip3/wasm"), ("b", LINUX)],                            (),                  "a"),
    ([("a", "wasip3/wasm"), ("b", "wasi/wasm")],                      (),                  "b"),
    ([("a", "wasip3/wasm"), ("b", "js/wasm")],                        (),                  Ambiguous),
    ([("a", "wasip1/wasm"), ("b", "wasip1/wasm")],                    (),                  Ambiguous),
    ([("a", "wasip1/wasm"), ("a", "wasip1/wasm")],                    (),                  "a"),
    ([("a", "WASIP1/Wasm"), ("b", "wasi/wasm")],                      (),                  "a"),
    ([("a", None)],                                                   ("cncf",),           "a"),
    ([("a", LINUX), ("b", None)],                                     ("image", "generic"), "b"),
    ([("a", None), ("b", ATTESTATION)],                               ("wasm-to-oci",),    "a"),
    ([("a", ATTESTATION)],                                            (),                  ArtifactInvalid),
    ([("a", None), ("b", None)],                                      ("cncf", "spin"),    Ambiguous),
    ([("a", None), ("b", None)],                                      ("signature", "provider-archive"), "b"),
    ([("a", LINUX)],                                                  ("image",),          ArtifactInvalid),
    ([("a", None)],                                                   ("index",),          ArtifactInvalid),
    ([],                                                              (),                  ArtifactInvalid),
]
# fmt: on


@covers("CW-060", "CW-108")
@pytest.mark.parametrize(("children", "kinds", "chosen"), INDEXES)
def test_the_child_of_an_index(children, kinds, chosen):
    assert choose(m.index(*children), kinds) == chosen


@covers("WO-041")
def test_the_error_lists_what_there_is():
    index = m.index(("a", "wasip1/wasm"), ("b", "wasip1/wasm"), ("c", LINUX))
    with pytest.raises(Ambiguous) as error:
        child_by_platform(index)
    assert [choice.split()[0] for choice in error.value.choices] == [
        str(Digest.of(b"a")),
        str(Digest.of(b"b")),
    ]
    assert "wasip1/wasm" in str(error.value)
