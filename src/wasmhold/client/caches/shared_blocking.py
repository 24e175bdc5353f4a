"""The cache in an object store for programs without an event loop."""

from __future__ import annotations

from typing import Self

from ...oci.digest import Digest
from . import shared
from .blocking import BlockingCache
from .shared_config import ObjectCacheConfig


class ObjectCache(BlockingCache):
    """A cache in an object store; ``file://`` and ``memory://`` are for trying it out.

    It is made without asking the store for anything.  Raises MissingExtraError; what
    `BlobCache.open` raises, for the folder in front of it.
    """

    def __init__(self, config: ObjectCacheConfig) -> None:
        self._shared = shared.ObjectCache(config)
        super().__init__(self._shared)

    @classmethod
    def open(cls, config: ObjectCacheConfig) -> Self:
        """The same as the constructor."""
        return cls(config)

    def key_for_digest(self, digest: Digest | str) -> str:
        """The name of a blob's object in its bucket.  Raises DigestInvalid."""
        return self._shared.key_for_digest(digest)
