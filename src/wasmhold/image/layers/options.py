"""How layers are unpacked, and within which bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, TypeAlias

from ...oci.errors import ArchiveInvalid, InputError
from ...oci.limits import MIB

Owner: TypeAlias = Literal["ignore", "apply", "map"]
Special: TypeAlias = Literal["skip", "error", "create"]
OnUnsafe: TypeAlias = Literal["error", "skip"]

_IDS: Final = (1 << 32) - 1  # the last one means "leave it" to the system


@dataclass(frozen=True, slots=True)
class LayerLimits:
    """Bounds of one layer.

    size        bytes when it is unpacked, holes of sparse files among them
    entries     of the archive
    ratio       what is larger than `free` bytes may be so many times what it is compressed
    name        bytes of a name, and of what a link says
    depth       folders in each other
    remembered  bytes of memory for names that are needed again at the end: of folders, and of hard
                links that come before what they link to
    """

    size: int = 65536 * MIB
    entries: int = 1_000_000
    ratio: int = 1000
    free: int = 100 * MIB
    name: int = 4096
    depth: int = 256
    remembered: int = 256 * MIB


class IdRange(NamedTuple):
    """`size` ids from `inside` on are those from `outside` on; as in /proc/PID/uid_map."""

    inside: int
    outside: int
    size: int


@dataclass(frozen=True, slots=True)
class How:
    """Choices of whoever unpacks.

    owner       "ignore": all is ours; "apply": as the archive says, which root may; "map": by
                `uids` and `gids`, for a user namespace
    special     devices and pipes: "skip" and count them, "create" them, or end with an error
    on_unsafe   an entry that might lead out: end with an error, or "skip" and count it
    keep_setid  keep the bits that let a program run as its owner
    xattrs      apply ``user.*`` and ``security.capability``; others are counted
    strict      a compression that is not that of the media type is an error, not a warning
    force       unpack foreign layers too
    """

    limits: LayerLimits = field(default_factory=LayerLimits)
    owner: Owner = "ignore"
    uids: Sequence[IdRange] = ()
    gids: Sequence[IdRange] = ()
    special: Special = "skip"
    on_unsafe: OnUnsafe = "error"
    keep_setid: bool = False
    xattrs: bool = False
    strict: bool = False
    force: bool = False

    def __post_init__(self) -> None:
        for value, choices in (
            (self.owner, ("ignore", "apply", "map")),
            (self.special, ("skip", "error", "create")),
            (self.on_unsafe, ("error", "skip")),
        ):
            if value not in choices:
                raise InputError(f"want one of {', '.join(choices)}", str(value))
        if self.owner == "map" and not (self.uids and self.gids):
            raise InputError("owners are mapped by ranges of user and group ids", "owner='map'")

    def owner_of(self, uid: int, gid: int) -> tuple[int, int] | None:
        """User and group for what the archive says; None: whoever unpacks.

        Raises ArchiveInvalid for what the system, or the map, does not have.
        """
        if self.owner == "ignore":
            return None
        if self.owner == "map":
            uid, gid = _mapped(uid, self.uids), _mapped(gid, self.gids)
        if max(uid, gid) >= _IDS:
            raise ArchiveInvalid(f"no system has an owner {uid}:{gid}")
        return uid, gid


def _mapped(number: int, ranges: Sequence[IdRange]) -> int:
    for inside, outside, size in ranges:
        if inside <= number < inside + size:
            return outside + number - inside
    raise ArchiveInvalid(f"the archive has an owner {number}, which the map of ids does not")
