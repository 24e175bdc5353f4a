"""Where a cache in an object store lies, and how it is reached."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Final, Self, TypedDict, Unpack
from urllib.parse import SplitResult, urlsplit

from ...oci.limits import MIB
from ..place import PlaceInvalid

PREFIX: Final = "wasmhold/blobs/"
LOCAL_SIZE: Final = 1024 * MIB

_IN_A_BUCKET: Final = ("s3", "gs")  # what follows the name of the bucket begins all keys
_SCHEMES: Final = (*_IN_A_BUCKET, "az", "file", "memory")


class ObjectCacheOptions(TypedDict, total=False):
    """What a preset leaves open; `ObjectCacheConfig` says what each is."""

    prefix: str | None
    local_dir: str | os.PathLike[str] | None
    local_max_size: int | str
    access_key_id: str | None
    secret_access_key: str | None
    session_token: str | None


@dataclass(frozen=True, slots=True)
class ObjectCacheConfig:
    """A cache in an object store; raises PlaceInvalid for what names none.

    url            ``s3://BUCKET``, the name of a bucket alone, ``gs://BUCKET``,
                   ``az://ACCOUNT/CONTAINER``, ``file:///FOLDER``, ``memory://``
    prefix         with which all keys begin; else what follows the bucket in the URL, else PREFIX
    region, endpoint: of an S3 server; else as the environment says, else those of AWS
    path_style     whether the bucket stands in the path of a URL, and not before the host
    local_dir      the folder of a cache on disk in front of it
    local_max_size its bytes, or text such as ``1GiB``
    access_key_id, secret_access_key, session_token: for S3; else what the environment or the
                   machine's role gives.  They are in no repr and in no message.
    """

    url: str
    prefix: str | None = None
    region: str | None = None
    endpoint: str | None = None
    path_style: bool = False
    local_dir: str | os.PathLike[str] | None = None
    local_max_size: int | str = LOCAL_SIZE
    access_key_id: str | None = field(default=None, repr=False)
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        url = self._split
        if url.scheme not in _SCHEMES:
            raise PlaceInvalid(f"want one of {', '.join(f'{s}://' for s in _SCHEMES)}", _shown(url))
        _plain(url)
        if url.scheme in (*_IN_A_BUCKET, "az") and (not url.hostname or ":" in url.netloc):
            raise PlaceInvalid("want the name of a bucket, with nothing around it", _shown(url))
        if url.scheme == "az" and not url.path.strip("/"):
            raise PlaceInvalid("want az://ACCOUNT/CONTAINER", _shown(url))
        if url.scheme == "file" and (url.netloc or not url.path.strip("/")):
            raise PlaceInvalid("want file:///FOLDER", _shown(url))
        if url.scheme != "s3" and (self.region or self.endpoint or self.path_style or self._keys):
            raise PlaceInvalid(
                "region, endpoint, path style and keys are for s3:// alone", _shown(url)
            )
        if self.endpoint is not None:
            endpoint = _parsed(self.endpoint)
            if endpoint.scheme not in ("http", "https") or not endpoint.hostname:
                raise PlaceInvalid("want an endpoint like https://HOST", _shown(endpoint))
            _plain(endpoint)
        if any(part in ("", ".", "..") for part in self.key_prefix.split("/")[:-1]):
            raise PlaceInvalid("a prefix of keys has no empty part, and none of dots", _shown(url))

    @classmethod
    def cloudflare_r2(
        cls, bucket: str, account: str, **options: Unpack[ObjectCacheOptions]
    ) -> Self:
        """A bucket of Cloudflare's R2."""
        endpoint = f"https://{account}.r2.cloudflarestorage.com"
        return cls(bucket, region="auto", endpoint=endpoint, path_style=True, **options)

    @classmethod
    def backblaze_b2(cls, bucket: str, region: str, **options: Unpack[ObjectCacheOptions]) -> Self:
        """A bucket of Backblaze's B2."""
        endpoint = f"https://s3.{region}.backblazeb2.com"
        return cls(bucket, region=region, endpoint=endpoint, **options)

    @classmethod
    def wasabi(cls, bucket: str, region: str, **options: Unpack[ObjectCacheOptions]) -> Self:
        """A bucket of Wasabi's."""
        endpoint = f"https://s3.{region}.wasabisys.com"
        return cls(bucket, region=region, endpoint=endpoint, **options)

    @classmethod
    def minio(
        cls,
        bucket: str,
        endpoint: str,
        region: str = "us-east-1",
        **options: Unpack[ObjectCacheOptions],
    ) -> Self:
        """A bucket of a MinIO server, or another one of one's own, at ``http://HOST:PORT``."""
        return cls(bucket, region=region, endpoint=endpoint, path_style=True, **options)

    @property
    def store_url(self) -> str:
        """The URL without what the keys begin with."""
        url = self._split
        if url.scheme in _IN_A_BUCKET:
            return f"{url.scheme}://{url.netloc}"
        return self.url

    @property
    def key_prefix(self) -> str:
        """What all keys begin with: empty, or with a slash at its end."""
        url = self._split
        named = url.path.strip("/") if url.scheme in _IN_A_BUCKET else ""
        prefix = self.prefix if self.prefix is not None else named or PREFIX
        return f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    @property
    def place(self) -> str:
        """For messages: where it lies, in one line."""
        return f"{self.store_url.rstrip('/')}/{self.key_prefix}".rstrip("/")

    @property
    def _split(self) -> SplitResult:
        return _parsed(self.url if "://" in self.url else f"s3://{self.url}")

    @property
    def _keys(self) -> bool:
        return bool(self.access_key_id or self.secret_access_key or self.session_token)


# The name that it had before there were other object stores.
S3CacheConfig = ObjectCacheConfig


def _parsed(text: str) -> SplitResult:
    """Raises PlaceInvalid, without the text, which may be a secret."""
    try:
        url = urlsplit(text)
        _ = url.port
    except ValueError:
        raise PlaceInvalid("this is no URL", text.partition("://")[0]) from None
    return url


def _plain(url: SplitResult) -> None:
    if "@" in url.netloc:
        raise PlaceInvalid("keys do not belong into a URL: give them apart", _shown(url))
    if url.query or url.fragment:
        raise PlaceInvalid("want nothing behind the path", _shown(url))


def _shown(url: SplitResult) -> str:
    """The URL without what may be a secret."""
    netloc = url.netloc.rpartition("@")[2]
    return url._replace(netloc=netloc, query="", fragment="").geturl()
