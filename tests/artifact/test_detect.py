from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.artifact import manifests as m
from tests.wasm import binaries
from wasmhold.artifact import Confidence, Format, Variant, detect, refine
from wasmhold.oci.descriptor import Descriptor
from wasmhold.oci.digest import Digest
from wasmhold.oci.manifest import Manifest
from wasmhold.testing.covers import covers
from wasmhold.wasm import read_binary

A = "application/"
DOCKER = f"{A}vnd.docker.container.image.v1+json"
DOCKER_TAR = f"{A}vnd.docker.image.rootfs.diff.tar.gzip"
SPIN = f"{A}vnd.fermyon.spin.application.v1+config"
SPIN_DATA = f"{A}vnd.wasm.content.layer.v1+data"
SIGSTORE = f"{A}vnd.dev.sigstore.bundle.v0.3+json"
SOLO = f"{A}vnd.module.wasm.config.v1+json"
PROVIDER = f"{A}vnd.wasmcloud.provider.archive.config"
PAR = f"{A}vnd.wasmcloud.provider.archive.layer.v1+par"
ACTOR = f"{A}vnd.wasmcloud.actor.archive.config"
COMPONENT_TYPE = f"{A}vnd.wasm.component.v1+wasm"
MODULE_TYPE = f"{A}vnd.wasm.module.v1+wasm"
SHIM = f"{A}vnd.bytecodealliance.wasm.component.layer.v0+wasm"
COMPAT = {"module.wasm.image/variant": "compat"}
POLICY = {"io.kubewarden.policy.title": "x"}
WASI = {"os": "wasi", "architecture": "wasm"}
LINUX = {"os": "linux", "architecture": "amd64"}


def of(*arguments, platform=None, config=None, **more):
    return m.manifest(*arguments, **more), platform, config


# fmt: off
SAMPLES = [  # the samples of the table of formats, in its order
    # manifest,                                                       kind,                     Wasm layers
    ((m.index(), None, None),                                         "index",                  ()),
    (of(m.EMPTY, SIGSTORE, artifact_type=SIGSTORE),                   "signature",              ()),
    (of(f"{A}vnd.cncf.notary.signature", f"{A}jose+json"),            "signature",              ()),
    (of(m.IMAGE, f"{A}vnd.dev.cosign.simplesigning.v1+json"),         "signature",              ()),
    (of(m.IMAGE, m.OLD_WASM, SPIN_DATA, SPIN),                        "spin",                   (0,)),
    (of(SPIN, m.OLD_WASM),                                            "spin (old)",             (0,)),
    (of(PROVIDER, PAR),                                               "provider-archive",       ()),
    (of(ACTOR, m.MODULE_WASM),                                        "wasmcloud-actor",        (0,)),
    (of(m.UNKNOWN, SOLO, m.MODULE_WASM),                              "solo",                   (1,)),
    (of(m.UNKNOWN, f"{A}vnd.module.wasm.spec.v1+yaml", f"{A}vnd.module.wasm.doc.v1.en+markdown", m.TAR_GZIP),
                                                                      "higress",                ()),
    (of(m.CNCF, m.WASM),                                              "cncf",                   (0,)),
    (of(m.CNCF, m.WASM, artifact_type=COMPONENT_TYPE),                "cncf (zlayer)",          (0,)),
    (of(m.CNCF, m.WASM, f"{A}vnd.wassette.policy+yaml"),              "cncf",                   (0,)),
    (of(m.CNCF, m.OLD_WASM),                                          "cncf (mixed)",           (0,)),
    (of(m.CNCF, m.TAR_GZIP),                                          "cncf (malformed)",       ()),
    (of(m.OLD, m.OLD_WASM, titles=["a.wasm"]),                        "wasm-to-oci (plain)",    (0,)),
    (of(m.OLD, m.OLD_WASM),                                           "wasm-to-oci",            (0,)),
    (of(m.OLD, m.OLD_WASM, annotations=POLICY),                       "wasm-to-oci (kubewarden)", (0,)),
    (of(m.OLD, m.WASM),                                               "wasm-to-oci (mixed)",    (0,)),
    (of(m.IMAGE, SHIM),                                               "runwasi",                (0,)),
    (of(m.IMAGE, f"{A}vnd.w3c.wasm.module.v1+wasm"),                  "runwasi",                (0,)),
    (of(m.EMPTY, m.WASM),                                             "generic",                (0,)),
    (of(m.UNKNOWN, m.MODULE_WASM),                                    "generic",                (0,)),
    (of(m.IMAGE, m.TAR_GZIP, annotations=COMPAT),                     "compat",                 ()),
    (of(DOCKER, DOCKER_TAR),                                          "image",                  ()),
    (of(f"{A}vnd.cncf.helm.config.v1+json", f"{A}vnd.cncf.helm.chart.content.v1.tar+gzip"), "not-wasm", ()),
    (of(m.EMPTY, "text/plain"),                                       "not-wasm",               ()),
    (of(m.IMAGE, m.TAR_GZIP, platform=WASI),                          "image",                  ()),
]
MORE = [
    # Order: the most special mark wins.
    (of(m.EMPTY, m.WASM, artifact_type=f"{A}spdx+json"),              "signature",              ()),
    (of(m.EMPTY, f"{A}vnd.cyclonedx+json"),                           "signature",              ()),
    (of(f"{A}vnd.in-toto+json", m.WASM),                              "signature",              ()),
    (of(m.EMPTY, f"{A}vnd.dsse.envelope.v1+json"),                    "signature",              ()),
    (of(m.EMPTY, m.WASM, f"{A}spdx+json"),                            "generic",                (0,)),
    (of(SPIN, SPIN, m.OLD_WASM, m.WASM),                              "spin",                   (1, 2)),
    (of(m.CNCF, m.WASM, SPIN),                                        "spin",                   (0,)),
    (of(m.UNKNOWN, PAR),                                              "provider-archive",       ()),
    (of(ACTOR, SOLO, m.MODULE_WASM),                                  "wasmcloud-actor",        (1,)),
    (of(ACTOR, m.WASM),                                               "wasmcloud-actor",        (0,)),
    (of(ACTOR, f"{A}vnd.oci.image.layer.v1.tar"),                     "wasmcloud-actor",        (0,)),
    (of(m.UNKNOWN, m.MODULE_WASM, SOLO),                              "solo",                   (0,)),
    (of(m.UNKNOWN, m.MODULE_WASM, f"{A}vnd.io.wasm.module.config.v1+json"), "solo",             (0,)),
    (of(m.UNKNOWN, SOLO),                                             "not-wasm",               ()),
    (of(m.IMAGE, f"{A}vnd.module.wasm.icon.v1+png", m.TAR_GZIP, annotations=COMPAT), "higress", ()),
    (of(m.IMAGE, f"{A}vnd.module.wasm.doc.v1+markdown", m.TAR_GZIP),  "higress",                ()),
    (of(m.IMAGE, f"{A}vnd.module.wasm.docs.v1+markdown", m.TAR_GZIP), "not-wasm",               ()),
    # The CNCF format and its neighbours.
    (of(m.CNCF, m.WASM, artifact_type=MODULE_TYPE),                   "cncf (zlayer)",          (0,)),
    (of(m.CNCF, m.WASM, artifact_type=f"{A}vnd.example+wasm"),        "cncf",                   (0,)),
    (of(m.EMPTY, "text/plain", artifact_type=COMPONENT_TYPE),         "not-wasm",               ()),
    (of(m.EMPTY, "text/plain", artifact_type=m.CNCF),                 "not-wasm",               ()),
    (of(m.CNCF, m.WASM, m.WASM),                                      "cncf",                   (0, 1)),
    (of(m.CNCF),                                                      "cncf (malformed)",       ()),
    (of(m.CNCF, f"{A}vnd.other+wasm"),                                "cncf (malformed)",       ()),
    # The family of wasm-to-oci.
    (of(m.OLD, m.OLD_WASM, titles=["a"], annotations={"a": "b"}),     "wasm-to-oci",            (0,)),
    (of(m.OLD, m.OLD_WASM, m.OLD_WASM, titles=["a", "b"]),            "wasm-to-oci",            (0, 1)),
    (of(m.OLD, "text/plain"),                                         "wasm-to-oci (malformed)", ()),
    (of("application/vnd.wasm.config.v2+json", m.OLD_WASM),           "generic",                (0,)),
    # Images.
    (of(m.IMAGE, f"{A}vnd.w3c.wasm.component.v1+wasm", m.WASM),       "runwasi",                (0, 1)),
    (of(DOCKER, COMPONENT_TYPE, m.TAR_GZIP),                          "runwasi",                (0,)),
    (of(m.EMPTY, SHIM),                                               "generic",                (0,)),
    (of(m.IMAGE, m.WASM),                                             "generic",                (0,)),
    (of(DOCKER, DOCKER_TAR, annotations={"module.wasm.image/variant": "compat-smart"}), "compat", ()),
    (of(m.IMAGE, m.TAR_GZIP, annotations={"module.wasm.image/variant": "other"}), "image",      ()),
    (of(m.IMAGE, m.TAR_GZIP, "text/plain", annotations=COMPAT),       "not-wasm",               ()),
    (of(m.EMPTY, m.TAR_GZIP, annotations=COMPAT),                     "not-wasm",               ()),
    (of(m.IMAGE),                                                     "not-wasm",               ()),
    # Docker's documents, and media types however they are written.
    (of(DOCKER, DOCKER_TAR, m.WASM, media_type="application/vnd.docker.distribution.manifest.v2+json"),
                                                                      "generic",                (1,)),
    (of("Application/VND.wasm.config.v0+JSON", "Application/Wasm"),   "cncf",                   (0,)),
    # What is no Wasm can have its layers all the same: two of them, and no other mark.
    (of(m.UNKNOWN, m.OLD_WASM, "text/plain", f"{A}vnd.x+wasm"),       "not-wasm",               (0, 2)),
    # A part of a name proves nothing.
    (of(m.EMPTY, f"{A}wasm+json", f"{A}x-wasm", f"{A}vnd.wasm"),      "not-wasm",               ()),
]
# fmt: on


@covers("CW-040", "CW-041", "CW-042", "CW-043", "CW-044", "CW-045", "CW-046", "CW-047", "CW-048")
@covers("CW-048z", "CW-049", "CW-049k", "CW-049w", "CW-050", "CW-051", "CW-052", "CW-055")
@covers("CW-056", "CW-062", "CW-063", "CW-065", "CW-066", "CW-106", "CW-002", "CW-005", "CW-008")
@covers("CW-026", "CW-027")
@pytest.mark.parametrize(("given", "kind", "layers"), [*SAMPLES, *MORE])
def test_formats_are_told_apart(given, kind, layers):
    manifest, platform, config = given
    found = detect(manifest, platform=platform, config=config)
    assert (str(found), found.wasm_layers) == (kind, layers)


def test_the_table_has_all_its_samples():
    assert len(SAMPLES) == 28
    assert {str(detect(g, platform=p, config=c)).split()[0] for (g, p, c), *_ in SAMPLES} == {
        of.value for of in Format
    }


# fmt: off
IMAGES = [
    # platform of the entry,                        config,                 how certain
    (None,                                          None,                   "needs-platform"),
    (LINUX,                                         None,                   "needs-content"),
    (None,                                          LINUX,                  "needs-content"),
    ({},                                            None,                   "needs-content"),
    ({"os": 1, "architecture": ["wasm"]},           None,                   "needs-content"),
    (WASI,                                          None,                   "certain"),
    ({"os": "wasi", "architecture": "wasm32"},      None,                   "certain"),
    ({"os": "wasip1", "architecture": "wasm"},      None,                   "certain"),
    ({"os": "WasiP2", "architecture": "Wasm"},      None,                   "certain"),
    ({"os": "linux", "architecture": "wasm"},       None,                   "certain"),
    ({"os": "wasip2", "architecture": "wasm64"},    None,                   "needs-content"),
    (LINUX,                                         {**WASI, "config": {}}, "certain"),
    (None,                                          {**WASI, "rootfs": {}}, "certain"),
]
# fmt: on


@covers("CW-053", "CW-054", "CW-066", "CW-108")
@pytest.mark.parametrize(("platform", "config", "confidence"), IMAGES)
def test_an_image_is_asked_for_its_platform(platform, config, confidence):
    for arguments in ((m.IMAGE, m.TAR_GZIP), (DOCKER, DOCKER_TAR, DOCKER_TAR)):
        kind = detect(m.manifest(*arguments), platform=platform, config=config)
        assert (kind.format, kind.confidence) == (Format.IMAGE, Confidence(confidence))


@covers("CW-066")
def test_what_has_no_mark_but_its_layer_is_likely():
    for (manifest, *_), kind, _ in SAMPLES:
        likely = detect(manifest).confidence is Confidence.LIKELY
        assert likely == (kind == "generic")


@covers("CW-049k")
def test_a_policy_is_also_known_by_its_own_section():
    policy = read_binary(binaries.MODULE + binaries.custom("io.kubewarden.metadata", b"{}"))
    plain = read_binary(binaries.MODULE)
    old, cncf = detect(m.manifest(m.OLD, m.OLD_WASM)), detect(m.manifest(m.CNCF, m.WASM))
    assert refine(old, policy).variant is Variant.KUBEWARDEN
    assert refine(old, plain) == old
    assert refine(cncf, policy) == cncf


TYPES = sorted({t for (manifest, *_), *_ in SAMPLES for t in (
    *(layer.media_type for layer in manifest.layers),
    *([manifest.config.media_type] if manifest.config else []),
)})  # fmt: skip


@covers("CW-066")
@given(
    st.sampled_from(TYPES) | st.none(),
    st.lists(st.sampled_from(TYPES), max_size=4),
    st.sampled_from(TYPES) | st.none(),
    st.none() | st.dictionaries(st.sampled_from(["os", "architecture"]), st.text() | st.integers()),
)
def test_anything_has_a_kind(config, layers, artifact_type, platform):
    def of(media_type):
        return Descriptor(media_type, Digest.of(b""), 0)

    manifest = Manifest(
        "application/vnd.oci.image.manifest.v1+json",
        config=of(config) if config else None,
        layers=tuple(of(layer) for layer in layers),
        artifact_type=artifact_type,
    )
    kind = detect(manifest, platform=platform)
    assert all(0 <= i < len(layers) for i in kind.wasm_layers)
    assert json.dumps(str(kind))
