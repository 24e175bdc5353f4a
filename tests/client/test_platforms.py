"""Which child of an index is meant by a platform."""

import pytest

from wasmhold.client.platforms import (
    NoMatchingPlatform,
    Platform,
    PlatformInvalid,
    of_machine,
)
from wasmhold.oci.descriptor import Descriptor
from wasmhold.oci.digest import Digest
from wasmhold.oci.manifest import Manifest
from wasmhold.testing.covers import covers

AMD64 = {"os": "linux", "architecture": "amd64"}
ARM = {"os": "linux", "architecture": "arm"}
ARM64 = {"os": "linux", "architecture": "arm64"}
WINDOWS = {"os": "windows", "architecture": "amd64"}

# fmt: off
PLATFORMS = [
    # wanted,         platform of a child,                              does it fit
    ("linux/amd64",   AMD64,                                            True),
    ("Linux/AMD64",   AMD64,                                            True),
    ("linux/amd64",   WINDOWS,                                          False),
    ("linux/amd64",   ARM64,                                            False),
    ("linux/arm/v7",  {**ARM, "variant": "v7"},                         True),
    ("linux/arm/v7",  {**ARM, "variant": "v6"},                         True),
    ("linux/arm/v7",  ARM,                                              True),
    ("linux/arm/v6",  {**ARM, "variant": "v7"},                         False),
    ("linux/arm/v6",  ARM,                                              False),
    ("linux/arm",     {**ARM, "variant": "v7"},                         True),
    ("linux/arm",     {**ARM, "variant": "v8"},                         True),
    ("linux/arm64",   {**ARM64, "variant": "v8"},                       True),
    ("linux/arm64/v8", ARM64,                                           True),
    ("linux/arm64/v8", {**ARM64, "variant": "v9"},                      False),
    ("linux/amd64/v2", {**AMD64, "variant": "v3"},                      False),
    ("linux/amd64/v2", AMD64,                                           True),
    ("linux/s390x/z15", {"os": "linux", "architecture": "s390x"},       False),
    ("wasip1/wasm",   {"os": "wasip1", "architecture": "wasm"},         True),
    ("linux/amd64",   None,                                             False),
    ("linux/amd64",   {"os": 1, "architecture": ["amd64"]},             False),
    ("unknown/unknown", {"os": "unknown", "architecture": "unknown"},   False),
    ("any-os/any-cpu", {"os": "any-os", "architecture": "any-cpu"},     True),
]
# fmt: on


@covers("ZL-167", "ZL-168", "ZL-171")
@pytest.mark.parametrize(("wanted", "platform", "fits"), PLATFORMS)
def test_platform(wanted, platform, fits):
    parsed = Platform.parse(wanted)
    assert parsed.fits(platform) is fits
    assert str(parsed) == wanted.lower()


@pytest.mark.parametrize("text", ["", "linux", "linux/", "a/b/c/d", "/amd64"])
def test_no_platform(text):
    with pytest.raises(PlatformInvalid):
        Platform.parse(text)


def index(*platforms):
    children = [
        Descriptor("application/vnd.oci.image.manifest.v1+json", Digest.of(b"%d" % at), 1)
        for at in range(len(platforms))
    ]
    return Manifest(
        "application/vnd.oci.image.index.v1+json",
        manifests=tuple(
            Descriptor(child.media_type, child.digest, child.size, platform=platform)
            for child, platform in zip(children, platforms, strict=True)
        ),
    )


def variants(of, *names):
    return [{**of, "variant": name} if name else of for name in names]


def versions(*texts):
    return [{**WINDOWS, "os.version": text} for text in texts]


def features(*lists):
    return [{**WINDOWS, "os.features": one} for one in lists]


# fmt: off
CHOICES = [
    # wanted,                                              children,                              the chosen one
    (Platform("linux", "arm", "v7"),                       variants(ARM, "v5", "v6", "v7"),       2),
    (Platform("linux", "arm", "v7"),                       variants(ARM, "v5", "v6"),             1),
    (Platform("linux", "arm", "v8"),                       variants(ARM, "v6", None, "v5"),       1),
    (Platform("linux", "arm", "v6"),                       variants(ARM, "v7", "v5"),             1),
    (Platform("linux", "arm"),                             variants(ARM, "v8", "v6", "v7"),       2),
    (Platform("linux", "arm64"),                           variants(ARM64, "v9", None),           1),
    (Platform("linux", "arm64", "v9"),                     variants(ARM64, None, "v9"),           1),
    (Platform("linux", "amd64"),                           variants(AMD64, "v3", "v2", None),     2),
    (Platform("linux", "amd64", "v4"),                     variants(AMD64, None, "v2", "v3"),     2),
    (Platform("linux", "amd64"),                           variants(AMD64, None, None),           0),
    (Platform("windows", "amd64", os_version="10.0.20348.1"), versions("10.0.20348.2", "10.0.20348.1"), 1),
    (Platform("windows", "amd64", os_version="10.0.20348"), versions("10.0.17763.9", "10.0.20348.1", "10.0.20348.2"), 1),
    (Platform("windows", "amd64", os_version="10.0.2"),    versions("10.0.17763.9", "10.0.20348.1"), 0),
    (Platform("windows", "amd64", os_version="10.0."),     versions("11.0.1", "10.0.20348.1"),    1),
    (Platform("windows", "amd64", os_version="10.0.3"),    [WINDOWS, *versions("10.0.20348.1")],  0),
    (Platform("windows", "amd64"),                         versions("10.0.17763.9", "10.0.20348.1"), 0),
    (Platform("windows", "amd64"),                         features(["win32k"], []),              1),
    (Platform("windows", "amd64"),                         features(["win32k"]),                  0),
    (Platform("windows", "amd64", os_features=("win32k",)), features([], ["win32k"]),             1),
    (Platform("windows", "amd64", os_features=("win32k",)), features(["win32k", "more"], []),     1),
    (Platform("windows", "amd64", os_features=("win32k",)), features(["more"]),                   None),
    (Platform("linux", "arm64"),                           [{"os": "unknown", "architecture": "unknown"}, ARM64], 1),
    (Platform("unknown", "unknown"),                       [{"os": "unknown", "architecture": "unknown"}], None),
    (of_machine("Darwin", "arm64", "little"),              [ARM64, {"os": "darwin", "architecture": "arm64"}], 1),
    (of_machine("Darwin", "arm64", "little"),              [AMD64, ARM64],                        1),
    (of_machine("Darwin", "arm64", "little"),              [AMD64],                               None),
    (Platform("darwin", "arm64"),                          [ARM64],                               None),
]
# fmt: on


@covers("ZL-166", "ZL-167", "ZL-170", "ZL-171")
@pytest.mark.parametrize(("wanted", "children", "chosen"), CHOICES)
def test_the_child_that_is_chosen(wanted, children, chosen):
    of = index(*children)
    try:
        found = of.manifests.index(wanted.choose(of, "there", "1.0"))
    except NoMatchingPlatform:
        found = None
    assert found == chosen


# fmt: off
MACHINES = [
    # uname: system, machine,  byte order,  Go's names
    ("Linux",   "x86_64",      "little",    "linux/amd64"),
    ("FreeBSD", "amd64",       "little",    "freebsd/amd64"),
    ("Linux",   "i686",        "little",    "linux/386"),
    ("Linux",   "i386",        "little",    "linux/386"),
    ("Linux",   "aarch64",     "little",    "linux/arm64"),
    ("Darwin",  "arm64",       "little",    "darwin/arm64"),
    ("Linux",   "armv6l",      "little",    "linux/arm/v6"),
    ("Linux",   "armv7l",      "little",    "linux/arm/v7"),
    ("Linux",   "armv8l",      "little",    "linux/arm/v8"),
    ("Linux",   "ppc64",       "big",       "linux/ppc64"),
    ("Linux",   "ppc64le",     "little",    "linux/ppc64le"),
    ("Linux",   "loongarch64", "little",    "linux/loong64"),
    ("Linux",   "riscv64",     "little",    "linux/riscv64"),
    ("Linux",   "s390x",       "big",       "linux/s390x"),
    ("Linux",   "mips64",      "little",    "linux/mips64le"),
    ("Linux",   "mips64",      "big",       "linux/mips64"),
]
# fmt: on


@covers("ZL-166")
@pytest.mark.parametrize(("system", "machine", "order", "text"), MACHINES)
def test_the_platform_of_a_machine(system, machine, order, text):
    assert str(of_machine(system, machine, order)) == text


@covers("ZL-166")
def test_the_platform_of_this_machine():
    assert Platform.host().fits({"os": Platform.host().os, **_rest(Platform.host())})


def _rest(platform):
    return {"architecture": platform.architecture, "variant": platform.variant}


@covers("ZL-170")
def test_the_error_has_what_was_wanted_and_what_is_there():
    of = index(AMD64, *versions("10.0.17763.9"), {"os": "unknown", "architecture": "unknown"}, None)
    wanted = Platform("windows", "arm64", os_version="10.0.20348")
    with pytest.raises(NoMatchingPlatform) as caught:
        wanted.choose(of, "127.0.0.1:5000/demo/app", "1.0")
    assert caught.value.wanted == wanted
    assert caught.value.available == ("linux/amd64", "windows/amd64 (os.version=10.0.17763.9)")
    assert "for windows/arm64 (os.version=10.0.20348); it has linux/amd64, windows/amd64" in str(
        caught.value
    )


@covers("ZL-168")
def test_what_a_config_says_of_itself():
    found = Platform.of({**WINDOWS, "os.version": "10.0.1", "os.features": ["win32k"], "x": 1})
    assert found == Platform("windows", "amd64", None, "10.0.1", ("win32k",))
    assert found.described() == "windows/amd64 (os.version=10.0.1)"
