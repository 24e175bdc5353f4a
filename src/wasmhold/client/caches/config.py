"""Which cache: by words and variables, and where it lies when nobody says it.

WASMHOLD_CACHE             off, memory, disk (or persistent), a URL, or a folder with a slash in it
WASMHOLD_CACHE_DIR         the folder of ``disk``
WASMHOLD_CACHE_MAX_SIZE    its bytes, such as 10GiB; ``none``: no limit
WASMHOLD_SHARED_CACHE      the URL of a cache that other machines use too
WASMHOLD_S3_REGION, WASMHOLD_S3_ENDPOINT, WASMHOLD_S3_PATH_STYLE: how S3 is reached
WASMHOLD_DEFAULT_REGISTRY  the registry of a name without a host

Where one is not set, zlayer-registry's is read: ZLAYER_CACHE_TYPE (memory, persistent, s3),
ZLAYER_CACHE_DIR, ZLAYER_S3_BUCKET with ZLAYER_S3_PREFIX, the other three, ZLAYER_DEFAULT_REGISTRY.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Final, Self

from ...oci.errors import InputError
from ..place import is_host
from ..sizes import parse_size
from .blob_cache import DISK_SIZE, MEMORY_SIZE, BlobCache
from .shared_config import ObjectCacheConfig

if TYPE_CHECKING:
    from .shared import ObjectCache

_OURS: Final = "WASMHOLD_"
_THEIRS: Final = "ZLAYER_"
_SWITCH: Final = {"true": True, "1": True, "false": False, "0": False}


class CacheInvalid(InputError):
    """Text that names no cache, or the value of a variable that cannot be taken."""


class CacheKind(Enum):
    MEMORY = "memory"
    DISK = "disk"
    OBJECT = "object"


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """A cache of this process, of this machine, or in an object store; `build` makes it.

    max_size         bytes of a cache in memory or on disk; None: no limit
    directory        of a cache on disk
    store            of a cache in an object store
    shared           a further cache, that other machines use too
    default_registry of a name without a host
    """

    kind: CacheKind
    max_size: int | None = None
    directory: str | None = None
    store: ObjectCacheConfig | None = None
    shared: ObjectCacheConfig | None = None
    default_registry: str | None = None

    @classmethod
    def memory(cls, max_size: int | str = MEMORY_SIZE) -> Self:
        """Raises ValueError for a size that is none."""
        return cls(CacheKind.MEMORY, _bytes(max_size))

    @classmethod
    def disk(
        cls, directory: str | os.PathLike[str], max_size: int | str | None = DISK_SIZE
    ) -> Self:
        """Raises ValueError for a size that is none."""
        limit = None if max_size is None else _bytes(max_size)
        return cls(CacheKind.DISK, limit, os.fspath(directory))

    @classmethod
    def object(cls, store: ObjectCacheConfig) -> Self:
        return cls(CacheKind.OBJECT, store=store)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """What the variables say; a cache on disk where they say nothing.

        Raises CacheInvalid, which names the variable and its value.
        """
        variables = _Variables(environ)
        variable, text = variables.find("CACHE", "CACHE_TYPE") or ("", "disk")
        return replace(
            cls._named(text, variables, variable),
            shared=variables.shared(),
            default_registry=variables.registry(),
        )

    @classmethod
    def parse(cls, text: str, environ: Mapping[str, str], called: str = "") -> Self:
        """The cache that `text` names, as WASMHOLD_CACHE would.

        Raises CacheInvalid, which says that the text is `called` so, such as ``--cache``.
        """
        return cls._named(text, _Variables(environ), called)

    @classmethod
    def _named(cls, text: str, variables: _Variables, variable: str) -> Self:
        word = text.lower()
        if word == "off":
            return cls.memory(0)
        if word == "memory":
            return cls.memory(variables.max_size(MEMORY_SIZE) or MEMORY_SIZE)
        if word in ("disk", "persistent"):
            return cls.disk(variables.directory(), variables.max_size(DISK_SIZE))
        if word == "s3" and variable.startswith(_THEIRS):
            return cls.object(variables.their_bucket(variable))
        if "://" in text:
            return cls.object(variables.store(variable, text))
        if "/" in text:
            return cls.disk(text, variables.max_size(DISK_SIZE))
        raise _invalid(variable, "want off, memory, disk, a URL or a folder such as ./cache", text)

    def build(self) -> BlobCache | ObjectCache:
        """The cache itself, without `shared`.

        Raises CacheFormatError; Denied, OutOfSpace, StoreUnavailable; MissingExtraError.
        """
        if self.kind is CacheKind.DISK and self.directory is not None:
            return BlobCache.open(self.directory, max_size=self.max_size)
        if self.kind is CacheKind.OBJECT and self.store is not None:
            return _object_cache(self.store)
        return BlobCache.memory(self.max_size or 0)

    def build_shared(self) -> ObjectCache | None:
        """The cache that is `shared`.  Raises as `build`."""
        return None if self.shared is None else _object_cache(self.shared)


def _object_cache(store: ObjectCacheConfig) -> ObjectCache:
    from .shared import ObjectCache  # noqa: PLC0415

    return ObjectCache(store)


def default_directory(environ: Mapping[str, str]) -> str:
    """Where the user's caches are: XDG Base Directory Specification, or as macOS has it."""
    home = environ.get("HOME") or os.path.expanduser("~")
    if sys.platform == "darwin":
        return os.path.join(home, "Library", "Caches", "wasmhold")
    caches = environ.get("XDG_CACHE_HOME", "")
    # The specification says that what is not absolute is to be ignored.
    return os.path.join(caches if os.path.isabs(caches) else f"{home}/.cache", "wasmhold")


def _bytes(size: int | str) -> int:
    return parse_size(size) if isinstance(size, str) else size


def _invalid(variable: str, reason: str, text: str) -> CacheInvalid:
    return CacheInvalid(f"{variable}: {reason}" if variable else reason, text)


class _Variables:
    """Ours, else theirs; what is blank is not set."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def find(self, name: str, theirs: str | None = None) -> tuple[str, str] | None:
        """The variable that holds, and its value."""
        for variable in (f"{_OURS}{name}", *([f"{_THEIRS}{theirs}"] if theirs else [])):
            value = self._environ.get(variable, "").strip()
            if value:
                return variable, value
        return None

    def _value(self, name: str) -> str | None:
        """Of a variable that has the same name for both."""
        found = self.find(name, name)
        return None if found is None else found[1]

    def directory(self) -> str:
        return self._value("CACHE_DIR") or default_directory(self._environ)

    def max_size(self, default: int) -> int | None:
        found = self.find("CACHE_MAX_SIZE")
        if found is None:
            return default
        variable, text = found
        if text.lower() == "none":
            return None
        try:
            return parse_size(text)
        except ValueError:
            raise _invalid(variable, "want a size such as 10GiB, or none", text) from None

    def registry(self) -> str | None:
        found = self.find("DEFAULT_REGISTRY", "DEFAULT_REGISTRY")
        if found is None:
            return None
        variable, text = found
        if not is_host(text):
            raise _invalid(variable, "want the HOST[:PORT] of a registry", text)
        return text

    def shared(self) -> ObjectCacheConfig | None:
        found = self.find("SHARED_CACHE")
        if found is not None:
            return self.store(*found)
        is_set = self._environ.get(f"{_THEIRS}S3_BUCKET", "").strip()
        return self.their_bucket("") if is_set else None

    def their_bucket(self, wanted_by: str) -> ObjectCacheConfig:
        bucket = self._environ.get(f"{_THEIRS}S3_BUCKET", "").strip()
        if not bucket:
            raise _invalid(wanted_by, f"wants {_THEIRS}S3_BUCKET too", "s3")
        prefix = self._environ.get(f"{_THEIRS}S3_PREFIX", "").strip() or None
        return self.store(f"{_THEIRS}S3_BUCKET", f"s3://{bucket}", prefix)

    def store(self, variable: str, url: str, prefix: str | None = None) -> ObjectCacheConfig:
        try:
            if not url.startswith("s3://"):
                return ObjectCacheConfig(url, prefix)
            return ObjectCacheConfig(
                url,
                prefix,
                region=self._value("S3_REGION"),
                endpoint=self._value("S3_ENDPOINT"),
                path_style=self._path_style(),
            )
        except CacheInvalid:
            raise
        except InputError as error:  # its text is the one without what may be a secret
            raise _invalid(variable, error.reason, error.text) from None

    def _path_style(self) -> bool:
        found = self.find("S3_PATH_STYLE", "S3_PATH_STYLE")
        if found is None:
            return False
        variable, text = found
        if text.lower() not in _SWITCH:
            raise _invalid(variable, "want true or false", text)
        return _SWITCH[text.lower()]
