"""Which place is asked when, and what is too old: tables."""

from __future__ import annotations

import pytest

from wasmhold.image.policy import (
    PullPolicy,
    Source,
    SourcePolicy,
    Verdict,
    blob_order,
    judge,
    manifest_order,
)
from wasmhold.oci import media_types
from wasmhold.oci.descriptor import Descriptor
from wasmhold.oci.digest import Digest
from wasmhold.oci.errors import AuthFailed, DigestMismatch, Unreachable
from wasmhold.protocol.errors import RateLimited, RemoteError
from wasmhold.testing.covers import covers

L, C, S, O = Source.LOCAL, Source.CACHE, Source.SHARED, Source.ORIGIN  # noqa: E741

# fmt: off
ORDER = [
    # sources,        policy,            manifests,      blobs
    ("local_first",   "newer",           [L, C, S, O],   [L, C, S, O]),
    ("local_first",   "if_not_present",  [L, C, S, O],   [L, C, S, O]),
    ("local_first",   "always",          [O],            [L, C, S, O]),
    ("local_first",   "never",           [L, C],         [L, C]),
    ("shared_first",  "newer",           [L, S, C, O],   [L, S, C, O]),
    ("shared_first",  "always",          [O],            [L, S, C, O]),
    ("shared_first",  "never",           [L, C],         [L, C]),
    ("remote_only",   "newer",           [O],            [C, O]),
    ("remote_only",   "if_not_present",  [O],            [C, O]),
    ("remote_only",   "always",          [O],            [C, O]),
    ("remote_only",   "never",           [],             [C]),
    ("local_only",    "newer",           [L, C],         [L, C]),
    ("local_only",    "always",          [],             [L, C]),
    ("local_only",    "never",           [L, C],         [L, C]),
]
# fmt: on


@covers("ZL-180", "ZL-181", "ZL-182", "ZL-184", "ZL-185")
@pytest.mark.parametrize(("sources", "policy", "manifests", "blobs"), ORDER)
def test_which_places_are_asked(sources, policy, manifests, blobs):
    assert list(manifest_order(PullPolicy(policy), SourcePolicy(sources))) == manifests
    assert list(blob_order(PullPolicy(policy), SourcePolicy(sources))) == blobs


@covers("ZL-181", "ZL-183")
def test_names_on_the_wire():
    assert [one.value for one in PullPolicy] == ["always", "newer", "if_not_present", "never"]
    assert [one.value for one in SourcePolicy] == [
        "local_first",
        "shared_first",
        "remote_only",
        "local_only",
    ]
    assert SourcePolicy.S3_FIRST is SourcePolicy("s3_first") is SourcePolicy.SHARED_FIRST
    for kind in (PullPolicy, SourcePolicy):
        with pytest.raises(ValueError, match="nonsense"):
            kind("nonsense")


def of(text: bytes) -> Descriptor:
    return Descriptor(media_types.IMAGE_MANIFEST, Digest.of(text), len(text))


# fmt: off
JUDGED = [
    # what the registry says,               stale may be used,   verdict
    (of(b"same"),                           True,                Verdict.USE),
    (of(b"same"),                           False,               Verdict.USE),
    (of(b"other"),                          True,                Verdict.FETCH),
    (None,                                  True,                Verdict.GONE),
    (None,                                  False,               Verdict.GONE),
    (Unreachable("host", "down"),           True,                Verdict.USE_STALE),
    (Unreachable("host", "down"),           False,               Verdict.RAISE),
    (RateLimited(429, [], None),            True,                Verdict.USE_STALE),
    (RemoteError(500, [], None),            True,                Verdict.USE_STALE),
    (RemoteError(503, [], None),            True,                Verdict.USE_STALE),
    (RemoteError(503, [], None),            False,               Verdict.RAISE),
    (RemoteError(400, [], None),            True,                Verdict.RAISE),
    (AuthFailed("host", "no login", 401),   True,                Verdict.RAISE),
    (AuthFailed("host", "not you", 403),    True,                Verdict.RAISE),
    (DigestMismatch("a", "b"),              True,                Verdict.RAISE),
]
# fmt: on


@covers("ZL-187")
@pytest.mark.parametrize(("there", "stale", "verdict"), JUDGED)
def test_what_follows_from_what_the_registry_says(there, stale, verdict):
    assert judge(of(b"same"), there, stale=stale) is verdict
