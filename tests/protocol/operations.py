"""Strategies: every operation, every result that belongs to it."""

from __future__ import annotations

from hypothesis import strategies as st

from wasmhold.oci.digest import HEX_LENGTH, Digest
from wasmhold.protocol import operations as op
from wasmhold.protocol.conditions import Precondition
from wasmhold.protocol.ranges import ByteRange

digests = st.builds(Digest.of, st.binary(max_size=4), st.sampled_from(sorted(HEX_LENGTH)))
components = st.from_regex(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+){0,2}", fullmatch=True)
words = st.sampled_from(["blobs", "manifests", "tags", "list", "uploads", "referrers"])
names = st.lists(components | words, min_size=1, max_size=4).map("/".join)
names = names.filter(lambda name: len(name) <= 255)
tags = st.from_regex(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", fullmatch=True)
references = tags | digests
numbers = st.none() | st.integers(0, 10**18 - 1)
media_types = st.sampled_from(
    ["application/vnd.oci.image.manifest.v1+json", "application/x", "a/b+c.d-e"]
)
accept = st.lists(media_types | st.just("*/*;q=0.5"), max_size=3).map(tuple)
entity_tags = st.lists(digests.map('"{}"'.format), min_size=1, max_size=2).map(tuple)
conditions = st.builds(
    Precondition, st.none() | st.just(("*",)) | entity_tags, st.none() | st.just(("*",))
)
ranges = (
    st.none()
    | st.builds(ByteRange, st.integers(0, 10**18), st.none() | st.integers(0, 10**18))
    | st.builds(ByteRange, st.none(), st.integers(0, 10**18))
)
sessions = st.uuids().map(str)
places = st.builds(op.UploadLocation, names, sessions)
# A chunk says where it starts only together with its size: that is what Content-Range holds.
chunks = st.tuples(st.none(), numbers) | st.tuples(st.integers(0, 10**17), st.integers(1, 10**17))

operations = st.one_of(
    st.just(op.Ping()),
    st.just(op.Redirect("/v2/")),
    st.builds(op.GetBlob, names, digests, st.just(True), ranges, st.just(()) | entity_tags),
    st.builds(op.GetBlob, names, digests, st.just(False)),
    st.builds(
        op.GetManifest, names, references, st.booleans(), accept, ranges, st.just(()) | entity_tags
    ),
    st.builds(op.StartUpload, names, st.none() | st.sampled_from(sorted(HEX_LENGTH))),
    st.builds(op.PushBlob, names, digests),
    st.builds(op.MountBlob, names, digests, st.none() | names),
    st.builds(lambda at, chunk: op.AppendChunk(at, *chunk), places, chunks),
    st.builds(lambda at, d, chunk: op.CommitUpload(at, d, *chunk), places, digests, chunks),
    st.builds(op.GetUpload, places),
    st.builds(op.CancelUpload, places),
    st.builds(
        op.PutManifest,
        names,
        tags,
        st.none() | media_types,
        st.just(()),
        st.none() | digests,
        conditions,
    ),
    st.builds(
        op.PutManifest,
        names,
        digests,
        st.none() | media_types,
        st.lists(tags, unique=True, max_size=12).map(tuple),
        st.none(),
        conditions,
    ),
    st.builds(op.DeleteManifest, names, references, conditions),
    st.builds(op.DeleteBlob, names, digests),
    st.builds(op.ListTags, names, numbers, st.just("") | tags),
    st.builds(op.ListRepositories, numbers, st.just("") | names),
    st.builds(
        op.ListReferrers, names, digests, st.none() | media_types, numbers, st.none() | digests
    ),
)
