"""``--cache``, the place ``cache:``, and ``wasmhold cache``."""

import asyncio
import errno
import os
import shutil
from pathlib import Path

import pytest

from tests.cli.program import done, wasmhold
from tests.wasm.binaries import MODULE
from wasmhold.client import BlobCache, Client, Settings
from wasmhold.oci.digest import Digest
from wasmhold.oci.limits import MIB
from wasmhold.testing.covers import covers
from wasmhold.testing.proxy import Proxy
from wasmhold.testing.registry import Registry

BIG = os.urandom(3 * MIB)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("app.wasm").write_bytes(MODULE)
    Path("big.bin").write_bytes(BIG)
    return tmp_path


@pytest.fixture(scope="module")
def registry():
    with Registry() as registry:
        yield registry


@pytest.fixture
def proxy(registry):
    """Before a registry with an app and a large file; it knows what passed."""
    with Proxy(registry.host) as proxy:
        done("push", "app.wasm", f"{registry.host}/demo/app:1", "--quiet")
        done("push", "big.bin", f"{registry.host}/demo/big:1", "--quiet", "--artifact-type", "a/b")
        yield proxy


def asked(proxy, since=0):
    return [passed.kind for passed in proxy.passed()][since:]


def blob_file(digest):
    return Path("c/blobs/sha256") / digest.encoded


# ---- --cache


@covers("ZL-505", "ZL-538")
def test_what_was_pulled_is_not_asked_for_again(proxy):
    place = f"{proxy.host}/demo/app:1"
    done("pull", place, "-o", "one.wasm", "--cache", "./c")
    assert asked(proxy) == ["manifest-get", "blob-get"]
    ran = done("pull", place, "-o", "two.wasm", "--cache", "./c")
    assert asked(proxy)[2:] == ["manifest-get"]
    assert "warning" not in ran.err
    digest = done("resolve", place).out.strip()
    since = len(asked(proxy))
    done("pull", f"{proxy.host}/demo/app@{digest}", "-o", "three.wasm", "--cache", "./c")
    assert asked(proxy, since) == []
    for name in ("one", "two", "three"):
        assert Path(f"{name}.wasm").read_bytes() == MODULE
    done("pull", place, "-o", "four.wasm")
    assert "blob-get" in asked(proxy, since)


@covers("ZL-538")
@pytest.mark.parametrize(
    ("variables", "where"),
    [
        ({"WASMHOLD_CACHE": "disk", "WASMHOLD_CACHE_DIR": "d"}, "d"),
        ({"WASMHOLD_CACHE": "disk", "HOME": "h"}, "h/.cache/wasmhold"),
        ({"WASMHOLD_CACHE": "./e"}, "e"),
        ({}, None),
        ({"WASMHOLD_CACHE_DIR": "d"}, None),
    ],
)
def test_which_cache_is_used(variables, where, proxy):
    done("pull", f"{proxy.host}/demo/app:1", "-o", "one.wasm", variables=variables)
    caches = [path.parent for path in Path().rglob("wasmhold-cache.json")]
    assert caches == ([] if where is None else [Path(where)])
    if where is not None:
        found = done("cache", "info", "--json", variables=variables | {"WASMHOLD_CACHE_DIR": where})
        assert found.json["images"] == 1


def test_a_copy_by_way_of_a_cache(proxy):
    for number, layout in enumerate(("one", "two")):
        since = len(asked(proxy))
        done("copy", f"{proxy.host}/demo/big:1", f"oci:{layout}:1", "--cache", "./c")
        assert ("blob-get" in asked(proxy, since)) == (number == 0)
    assert done("cache", "info", "--cache", "./c", "--json").json["images"] == 1
    assert Path(f"two/blobs/sha256/{Digest.of(BIG).encoded}").read_bytes() == BIG


def test_a_mount_goes_past_the_cache(registry, proxy):
    done("copy", f"{proxy.host}/demo/big:1", f"{proxy.host}/demo/copy:1", "--cache", "./c")
    assert "mount" in asked(proxy)
    assert "blob-get" not in asked(proxy)


def test_a_damaged_copy_comes_anew(proxy):
    pull = ("pull", f"{proxy.host}/demo/app:1", "-o", "out.wasm", "--cache", "./c")
    done(*pull)
    blob_file(Digest.of(MODULE)).write_bytes(bytes(len(MODULE)))
    since = len(asked(proxy))
    ran = done(*pull)
    assert asked(proxy, since) == ["manifest-get", "blob-get"]
    assert Path("out.wasm").read_bytes() == MODULE
    assert "warning" not in ran.err


def test_what_broke_goes_on_in_the_cache(registry, proxy):
    with Proxy(registry.host, [("blob-get", f"cut={MIB}:2")]) as breaking:
        copy = ("copy", f"{breaking.host}/demo/big:1", "oci:out:1", "--cache", "./c")
        done(*copy)
        ranges = [p.fields.get("range") for p in breaking.passed("blob-get")]
    assert f"bytes={MIB}-" in ranges


@pytest.mark.parametrize(
    ("call", "number", "said"),
    [("write", errno.ENOSPC, "no space is left"), ("replace", errno.EIO, "Input/output error"),
     ("mkdir", errno.EACCES, "Permission denied")],
)  # fmt: skip
def test_a_cache_that_cannot_be_written_is_a_warning(call, number, said, proxy, monkeypatch):
    real = getattr(os, call)
    cache = str(Path("c").absolute())

    def failing(*arguments, **more):
        where = arguments[0] if call == "write" else more.get("dst_dir_fd", more.get("dir_fd"))
        if isinstance(where, int) and os.readlink(f"/proc/self/fd/{where}").startswith(cache):
            raise OSError(number, os.strerror(number))
        return real(*arguments, **more)

    BlobCache.open("c")
    monkeypatch.setattr(os, call, failing)
    ran = done("pull", f"{proxy.host}/demo/app:1", "-o", "out.wasm", "--cache", "./c")
    assert Path("out.wasm").read_bytes() == MODULE
    assert said in ran.err
    assert ran.err.count("warning") == 1
    assert "the registry is asked instead" in ran.err


def test_what_is_larger_than_the_cache_goes_past_it(proxy):
    variables = {"WASMHOLD_CACHE_MAX_SIZE": "1MiB"}
    for _ in range(2):
        ran = done(
            "copy", f"{proxy.host}/demo/big:1", "oci:out:1", "--cache", "./c", variables=variables
        )
        shutil.rmtree("out")
    assert len(proxy.passed("blob-get")) >= 2
    assert not blob_file(Digest.of(BIG)).exists()
    assert "warning" not in ran.err


@pytest.mark.parametrize(
    ("which", "status", "said"),
    [
        ("bogus", 2, "want off, memory, disk, a URL or a folder such as ./cache: 'bogus'"),
        ("nowhere://x", 2, "nowhere://x"),
        ("./layout", 1, "layout: is an image layout: name another folder"),
        ("./app.wasm", 1, "app.wasm: is a file, no folder"),
    ],
)
def test_what_is_no_cache(which, status, said, proxy):
    done("copy", f"{proxy.host}/demo/app:1", "oci:layout:1")
    for command in (["pull", f"{proxy.host}/demo/app:1"], ["cache", "info"], ["cache", "clear"]):
        ran = wasmhold(*command, "--cache", which)
        assert ran.status == status
        assert said in ran.err
        assert "Traceback" not in ran.err
    assert sorted(os.listdir("layout")) == ["blobs", "index.json", "oci-layout"]


# ---- cache:


@covers("ZL-500")
def test_the_cache_is_a_place(proxy, registry):
    done("copy", f"{proxy.host}/demo/app:1", "oci:one:1", "--cache", "./c")
    inside = f"cache:{proxy.host}/demo/app"
    here = {"WASMHOLD_CACHE_DIR": "c"}
    since = len(asked(proxy))
    assert done("tags", inside, variables=here).lines == ["1"]
    digest = done("resolve", f"{inside}:1", variables=here).out
    done("copy", f"{inside}:1", "oci:two:1", variables=here)
    done("pull", f"{inside}:1", "-o", "out.wasm", "--cache", "./c")
    done("push", "app.wasm", "cache:example.com/mine:v1", "--cache", "./c")
    done("pull", "cache:example.com/mine:v1", "-o", "mine.wasm", variables=here)
    done("tag", f"{inside}:1", "2", variables=here)
    done("delete", f"{inside}:1", variables=here)
    assert done("tags", inside, variables=here).lines == ["2"]
    assert asked(proxy, since) == []
    assert done("resolve", "oci:two:1").out == digest
    assert Path("out.wasm").read_bytes() == Path("mine.wasm").read_bytes() == MODULE
    ran = wasmhold("pull", f"{inside}:none", variables=here)
    assert ran.status == 3
    assert f"repository cache:{proxy.host}/demo/app has no manifest none" in ran.err


def test_a_host_named_cache_is_a_host():
    ran = wasmhold("tags", "cache:1/demo", "--retries", "0")
    assert ran.status == 1
    assert "cache:1" in ran.err


def test_what_was_pulled_in_part_is_brought_whole(proxy):
    """A pull takes the module and leaves the config; a copy into the cache needs both."""
    place, inside = f"{proxy.host}/demo/app:1", f"cache:{proxy.host}/demo/app:1"
    done("pull", place, "-o", "out.wasm", "--cache", "./c")
    ran = wasmhold("copy", inside, "oci:out:1", "--cache", "./c")
    assert ran.status == 3
    assert "has no blob" in ran.err
    done("copy", place, inside, "--cache", "./c")
    done("copy", inside, "oci:out:1", "--cache", "./c")


# ---- wasmhold cache


def test_info(proxy):
    ran = done("cache", "info", "--cache", "./c")
    assert ran.lines == [
        f"{Path('c').absolute()}: 0 bytes, of 10.0 GiB",
        "0 blobs, 0 manifests, 0 images",
    ]
    place = f"{proxy.host}/demo/app:1"
    done("copy", place, "oci:out:1", "--cache", "./c")
    found = done("cache", "info", "--cache", "./c", "--images", "--json").json
    assert (found["blobs"], found["manifests"], found["images"]) == (2, 1, 1)
    assert found["maxSize"] == 10 << 30
    assert found["list"][0]["reference"] == found["list"][0]["original"] == place
    assert found["list"][0]["digest"] == done("resolve", "oci:out:1").out.strip()
    assert found["size"] > found["list"][0]["size"] > len(MODULE)
    assert done("cache", "info", "--cache", "./c", "--images").lines[2].startswith(f"{place}  ")


@covers("ZL-580")
def test_prune_and_clear(proxy):
    for name in ("app", "big"):
        done("copy", f"{proxy.host}/demo/{name}:1", f"oci:{name}:1", "--cache", "./c")
    done("delete", f"cache:{proxy.host}/demo/big:1", "--cache", "./c")
    assert done("cache", "prune", "--cache", "./c").lines == [
        "removed 0 things, freed 0 bytes; 6 stay"
    ]
    prune = ("cache", "prune", "--cache", "./c", "--older-than", "0")
    would = done(*prune, "--dry-run", "--json").json
    assert would["dryRun"]
    assert str(Digest.of(BIG)) in would["deleted"]
    assert done(*prune, "--dry-run").out.startswith("would remove 3 things, free 3.0 MiB; 3 stay")
    assert done(*prune).out == "removed 3 things, freed 3.0 MiB; 3 stay\n"
    assert not blob_file(Digest.of(BIG)).exists()
    next(Path("c/manifests/sha256").iterdir()).write_text("damaged")
    ran = wasmhold(*prune)
    assert ran.status == 1
    assert "is not what it was: nothing was removed" in ran.err
    assert done("cache", "clear", "--cache", "./c").out.startswith(
        f"{Path('c').absolute()}: removed "
    )
    assert done("cache", "info", "--cache", "./c", "--json").json["blobs"] == 0
    cleared = done("cache", "clear", "--cache", "./c", "--json").json
    assert cleared == {"place": str(Path("c").absolute()), "freed": 0}


@covers("ZL-505")
def test_verify(proxy):
    done("copy", f"{proxy.host}/demo/app:1", "oci:out:1", "--cache", "./c")
    assert done("cache", "verify", "--cache", "./c").out.startswith("read 3 things, ")
    blob_file(Digest.of(MODULE)).write_bytes(bytes(len(MODULE)))
    ran = wasmhold("cache", "verify", "--cache", "./c", "--json")
    assert ran.status == 5
    assert ran.json["damaged"] == [str(Digest.of(MODULE))]
    assert "1 were damaged" not in ran.out
    assert str(Digest.of(MODULE)) in ran.err
    assert done("cache", "verify", "--cache", "./c", "--json").json["count"] == 2


# ---- who is to blame


@pytest.mark.parametrize(
    ("fault", "status", "said"),
    [
        (("blob-get", "corrupt:99"), 5, "the content is sha256:"),
        (("blob-get", "404:99"), 3, "has no blob"),
        (("manifest-get", "403:99"), 4, "source"),
    ],
)
def test_what_the_registry_did_is_not_the_cache_s_fault(fault, status, said, registry, proxy):
    with Proxy(registry.host, [fault]) as breaking:
        place = f"{breaking.host}/demo/app:1"
        ran = wasmhold("pull", place, "-o", "out.wasm", "--cache", "./c", "--retries", "0")
        assert ran.status == status, ran.err
        assert f"source {breaking.host}/demo/app" in ran.err
        assert said in ran.err
        assert "warning" not in ran.err
        assert not Path("out.wasm").exists()
        assert done("cache", "info", "--cache", "./c", "--json").json["blobs"] == 0
        breaking.clear()
        done("pull", place, "-o", "out.wasm", "--cache", "./c")
    assert Path("out.wasm").read_bytes() == MODULE
    assert os.listdir("c/tmp") == []


def test_a_cache_in_an_object_store(proxy):
    url = f"file://{Path('objects').absolute()}"
    Path("objects").mkdir()
    for number in range(2):
        since = len(asked(proxy))
        done("copy", f"{proxy.host}/demo/app:1", f"oci:out{number}:1", "--cache", url)
        assert ("blob-get" in asked(proxy, since)) == (number == 0)
    assert done("cache", "info", "--cache", url, "--json").json["blobs"] == 2
    assert done("cache", "verify", "--cache", url, "--json").json["count"] == 3
    assert (
        done("cache", "prune", "--cache", url, "--older-than", "0", "--json").json["deleted"] == []
    )
    done("cache", "clear", "--cache", url)
    assert done("cache", "info", "--cache", url, "--json").json["images"] == 0


def test_under_asyncio(proxy):
    async def work():
        settings = Settings(cache=BlobCache.memory())
        async with Client(settings) as client:
            place = f"{proxy.host}/demo/app:1"
            await asyncio.gather(*(client.pull(place, f"{number}.wasm") for number in range(8)))
            return await settings.cache.images()

    (image,) = asyncio.run(work())
    assert image.reference == f"{proxy.host}/demo/app:1"
    assert len(proxy.passed("blob-get")) == 1
    assert {Path(f"{number}.wasm").read_bytes() for number in range(8)} == {MODULE}
