"""Which cache the variables and words name."""

import os

import pytest

from wasmhold.client import CacheConfig, CacheInvalid, CacheKind
from wasmhold.client.caches.blob_cache import BlobCache
from wasmhold.client.caches.config import default_directory
from wasmhold.client.caches.shared_config import ObjectCacheConfig
from wasmhold.oci.limits import MIB
from wasmhold.testing.covers import covers

HOME = {"HOME": "/home/me"}
GIB = 1024 * MIB

# fmt: off
NAMED = [
    # variables,                                                        kind, where, bytes
    ({},                                                                "disk", "/home/me/.cache/wasmhold", 10 * GIB),
    ({"WASMHOLD_CACHE": " "},                                           "disk", "/home/me/.cache/wasmhold", 10 * GIB),
    ({"XDG_CACHE_HOME": "/x"},                                          "disk", "/x/wasmhold", 10 * GIB),
    ({"XDG_CACHE_HOME": "relative"},                                    "disk", "/home/me/.cache/wasmhold", 10 * GIB),
    ({"WASMHOLD_CACHE_DIR": "/c", "XDG_CACHE_HOME": "/x"},              "disk", "/c", 10 * GIB),
    ({"WASMHOLD_CACHE": "disk", "WASMHOLD_CACHE_DIR": "/c"},            "disk", "/c", 10 * GIB),
    ({"WASMHOLD_CACHE": "Persistent", "WASMHOLD_CACHE_MAX_SIZE": "1GiB"}, "disk", "/home/me/.cache/wasmhold", GIB),
    ({"WASMHOLD_CACHE": "./c", "WASMHOLD_CACHE_MAX_SIZE": "none"},      "disk", "./c", None),
    ({"WASMHOLD_CACHE": "memory"},                                      "memory", None, 256 * MIB),
    ({"WASMHOLD_CACHE": "MEMORY", "WASMHOLD_CACHE_MAX_SIZE": "1MiB"},   "memory", None, MIB),
    ({"WASMHOLD_CACHE": "off"},                                         "memory", None, 0),
    ({"WASMHOLD_CACHE": "s3://bucket/team"},                            "object", "s3://bucket/team", None),
    ({"WASMHOLD_CACHE": "file:///srv/cache"},                           "object", "file:///srv/cache", None),
    # theirs, where ours is not set
    ({"ZLAYER_CACHE_TYPE": "memory"},                                   "memory", None, 256 * MIB),
    ({"ZLAYER_CACHE_TYPE": "PERSISTENT", "ZLAYER_CACHE_DIR": "/z"},     "disk", "/z", 10 * GIB),
    ({"ZLAYER_CACHE_DIR": "/z", "WASMHOLD_CACHE_DIR": "/w"},            "disk", "/w", 10 * GIB),
    ({"ZLAYER_CACHE_TYPE": "s3", "ZLAYER_S3_BUCKET": "b"},              "object", "s3://b", None),
    ({"ZLAYER_CACHE_TYPE": "s3", "WASMHOLD_CACHE": "disk"},             "disk", "/home/me/.cache/wasmhold", 10 * GIB),
]
BAD = [
    # variables,                                                        the variable, what is said
    ({"WASMHOLD_CACHE": "disc"},                                        "WASMHOLD_CACHE", "'disc'"),
    ({"WASMHOLD_CACHE": "s3"},                                          "WASMHOLD_CACHE", "'s3'"),
    ({"WASMHOLD_CACHE": "ftp://x/y"},                                   "WASMHOLD_CACHE", "ftp://x/y"),
    ({"WASMHOLD_CACHE": "s3://"},                                       "WASMHOLD_CACHE", "name of a bucket"),
    ({"WASMHOLD_CACHE_MAX_SIZE": "10GB"},                               "WASMHOLD_CACHE_MAX_SIZE", "'10GB'"),
    ({"WASMHOLD_CACHE_MAX_SIZE": "-1"},                                 "WASMHOLD_CACHE_MAX_SIZE", "'-1'"),
    ({"WASMHOLD_SHARED_CACHE": "nowhere://x"},                          "WASMHOLD_SHARED_CACHE", "nowhere://x"),
    ({"WASMHOLD_SHARED_CACHE": "s3://b", "WASMHOLD_S3_PATH_STYLE": "yes"}, "WASMHOLD_S3_PATH_STYLE", "'yes'"),
    ({"WASMHOLD_SHARED_CACHE": "s3://b", "ZLAYER_S3_PATH_STYLE": "yes"}, "ZLAYER_S3_PATH_STYLE", "'yes'"),
    ({"WASMHOLD_DEFAULT_REGISTRY": "no host"},                          "WASMHOLD_DEFAULT_REGISTRY", "'no host'"),
    ({"ZLAYER_DEFAULT_REGISTRY": "docker"},                             "ZLAYER_DEFAULT_REGISTRY", "'docker'"),
    ({"ZLAYER_CACHE_TYPE": "redis"},                                    "ZLAYER_CACHE_TYPE", "'redis'"),
    ({"ZLAYER_CACHE_TYPE": "s3"},                                       "ZLAYER_CACHE_TYPE", "wants ZLAYER_S3_BUCKET"),
]
# fmt: on


@covers("ZL-560", "ZL-561", "ZL-538")
@pytest.mark.parametrize(("environ", "kind", "where", "size"), NAMED)
def test_what_variables_name(environ, kind, where, size, monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    found = CacheConfig.from_env(HOME | environ)
    assert found.kind is CacheKind(kind)
    assert (found.directory or (found.store and found.store.url)) == where
    assert found.max_size == size


@covers("ZL-560")
@pytest.mark.parametrize(("environ", "variable", "said"), BAD)
def test_a_bad_value_is_told_with_its_variable(environ, variable, said):
    with pytest.raises(CacheInvalid) as caught:
        CacheConfig.from_env(HOME | environ)
    assert variable in str(caught.value)
    assert said in str(caught.value)


@covers("ZL-560", "ZL-562", "ZL-563")
def test_the_shared_cache_and_the_registry():
    assert CacheConfig.from_env(HOME).shared is None
    assert CacheConfig.from_env(HOME | {"ZLAYER_S3_BUCKET": "  "}).shared is None
    assert CacheConfig.from_env(HOME).default_registry is None
    found = CacheConfig.from_env(
        HOME
        | {
            "WASMHOLD_SHARED_CACHE": "s3://shared/x",
            "WASMHOLD_S3_REGION": "eu-1",
            "ZLAYER_S3_REGION": "us-1",
            "ZLAYER_S3_ENDPOINT": "https://s3.example.com",
            "ZLAYER_S3_PATH_STYLE": "TRUE",
            "ZLAYER_DEFAULT_REGISTRY": "z.example.com",
        }
    )
    assert found.kind is CacheKind.DISK
    assert found.shared == ObjectCacheConfig(
        "s3://shared/x", region="eu-1", endpoint="https://s3.example.com", path_style=True
    )
    assert found.default_registry == "z.example.com"
    theirs = {"ZLAYER_S3_BUCKET": "b", "ZLAYER_S3_PREFIX": "zlayer/blobs/"}
    found = CacheConfig.from_env(
        HOME | theirs | {"WASMHOLD_DEFAULT_REGISTRY": "w.example.com:5000"}
    )
    assert found.shared == ObjectCacheConfig("s3://b", "zlayer/blobs/")
    assert found.default_registry == "w.example.com:5000"


def test_no_secret_of_a_url_is_told():
    with pytest.raises(CacheInvalid) as caught:
        CacheConfig.from_env(HOME | {"WASMHOLD_SHARED_CACHE": "s3://key:secret@bucket"})
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


@covers("ZL-561", "ZL-005")
def test_it_builds_the_cache(tmp_path):
    disk = CacheConfig.disk(tmp_path / "c", "1MiB").build()
    assert isinstance(disk, BlobCache)
    assert (disk.place, disk.max_size) == (str(tmp_path / "c"), MIB)
    assert CacheConfig.memory("1KiB").build().place == "memory"
    store = ObjectCacheConfig(f"file://{tmp_path}/objects")
    far = CacheConfig.object(store)
    assert far.kind is CacheKind.OBJECT
    assert str(tmp_path) in far.build().place
    assert far.build_shared() is None
    both = CacheConfig.from_env(
        HOME | {"WASMHOLD_CACHE": "memory", "WASMHOLD_SHARED_CACHE": store.url}
    )
    assert both.build_shared().place == far.build().place
    with pytest.raises(ValueError, match="no size"):
        CacheConfig.memory("x")


@covers("ZL-538")
@pytest.mark.parametrize(
    ("platform", "environ", "where"),
    [
        ("linux", {"HOME": "/h"}, "/h/.cache/wasmhold"),
        ("linux", {"HOME": "/h", "XDG_CACHE_HOME": "/x"}, "/x/wasmhold"),
        ("darwin", {"HOME": "/h", "XDG_CACHE_HOME": "/x"}, "/h/Library/Caches/wasmhold"),
        ("linux", {}, os.path.expanduser("~/.cache/wasmhold")),
    ],
)
def test_where_the_caches_of_a_user_are(platform, environ, where, monkeypatch):
    monkeypatch.setattr("sys.platform", platform)
    assert default_directory(environ) == where
