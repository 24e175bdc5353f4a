"""Space: what is used; pushes are refused while there still is room to delete, collect and tag.

Source: RFC 4918, 11.5 (507).  A disk that gets full in the middle of a write is another thing: then
the write itself says so, and takes back what it had written.
"""

from __future__ import annotations

from typing import Final

from ...oci.digest import HEX_LENGTH
from ...oci.errors import OutOfSpace
from ...oci.limits import MIB
from ...ports.store import Space
from . import paths
from .catalog import Catalog
from .files import Files

LEAST: Final = 1024 * MIB  # bytes that must be free, where nobody says another number
LEAST_SHARE: Final = 0.02  # or this share of the file system, whichever is more

_PAGE: Final = 1000  # repositories


class Reserve:
    """`least` bytes must be free, None: as above, 0: none, and nobody is asked.

    Where the host cannot tell, anything goes.
    """

    def __init__(self, files: Files, least: int | None) -> None:
        self._files = files
        self._least = least

    async def left(self) -> Space | None:
        found = await self._files.free_space()
        if found is None:
            return None
        free, total = found
        least = max(LEAST, int(total * LEAST_SHARE)) if self._least is None else self._least
        return Space(free, least)

    async def check(self) -> None:
        """Before something is pushed.  Raises OutOfSpace."""
        space = None if self._least == 0 else await self.left()
        if space is not None and space.free < space.kept:
            raise OutOfSpace(
                f"the registry has {space.free // MIB} MiB left and keeps {space.kept // MIB} "
                "free: delete something, or ask its operator"
            )


async def bytes_used(files: Files, catalog: Catalog) -> int:
    """Of all blobs and manifests; a file with several names counts once."""
    sizes: dict[int, int] = {}  # by inode
    names = await catalog.layouts("", _PAGE)
    while names:
        for name in names:
            of = paths.repository(name)
            for algorithm in HEX_LENGTH:
                folder = of.blobs_of(algorithm)
                for file in await files.names(folder) or []:
                    found = await files.stat(f"{folder}/{file}")
                    if found is not None:
                        sizes[found.inode] = found.size
        names = await catalog.layouts(names[-1], _PAGE)
    return sum(sizes.values())
