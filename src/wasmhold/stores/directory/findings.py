"""What a check of a store finds, and what it may do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ...oci.digest import Digest


class Kind(StrEnum):
    """What is wrong; the first ones are damage, the others cost nothing but space or a moment."""

    MANIFEST_MISSING = "manifest-missing"
    MANIFEST_DAMAGED = "manifest-damaged"
    BLOB_MISSING = "blob-missing"
    BLOB_DAMAGED = "blob-damaged"
    TAG_DANGLING = "tag-dangling"
    TAG_DAMAGED = "tag-damaged"
    REFERRER_MISSING = "referrer-missing"
    REPOSITORY_REFUSED = "repository-refused"
    ENTRY_LEFT_OUT = "entry-left-out"
    CHILD_ABSENT = "child-absent"
    SIZE_DIFFERS = "size-differs"
    REFERRER_STRAY = "referrer-stray"
    POOL_MISSING = "pool-missing"
    INDEX_BEHIND = "index-behind"
    STRAY = "stray"


_DAMAGE: Final = {
    Kind.MANIFEST_MISSING, Kind.MANIFEST_DAMAGED, Kind.BLOB_MISSING, Kind.BLOB_DAMAGED,
    Kind.TAG_DANGLING, Kind.TAG_DAMAGED, Kind.REFERRER_MISSING, Kind.REPOSITORY_REFUSED,
    Kind.ENTRY_LEFT_OUT,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong; `repair` says what was done about it, empty for nothing."""

    kind: Kind
    what: str
    repository: str | None = None  # None: of the whole store
    digest: Digest | None = None
    repair: str = ""
    is_mended: bool = False

    @property
    def is_damage(self) -> bool:
        """Damage, and still there."""
        return self.kind in _DAMAGE and not self.is_mended

    @property
    def line(self) -> str:
        where = f"{self.repository}: " if self.repository else ""
        return f"{self.kind}: {where}{self.what}" + (f" ({self.repair})" if self.repair else "")


@dataclass(slots=True)
class Checked:
    """What was looked at."""

    repositories: int = 0
    manifests: int = 0
    tags: int = 0
    blobs: int = 0  # names of blobs
    read: int = 0  # bytes


@dataclass(frozen=True, slots=True)
class Rules:
    """What a check may do; `rate` is bytes per second that it reads, None: as fast as it can."""

    repair: bool = False
    delete_broken: bool = False
    rate: float | None = None


Found = Callable[[Finding], None]
