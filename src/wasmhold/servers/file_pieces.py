"""Bytes of a file for a server: from the page cache on the loop, from the disk in a thread.

A read that would wait for the disk must not stop the loop, and a thread for every read costs more
than the read: so it is tried with RWF_NOWAIT first (Linux), which answers at once.

About eight pieces wait on their way to a reader that takes none.  So only some bodies at a time are
sent in large ones: whoever opens thousands and reads nothing makes us hold little for each.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from typing import ClassVar, Final, Self

from ..oci.errors import ContentDamaged
from ..oci.limits import KIB
from ..ports.body import PIECE, FileRange

LARGE_AT_ONCE: Final = 128  # bodies in pieces of 256 KiB: 256 MiB when nobody reads
SMALL_PIECE: Final = 32 * KIB

_NOWAIT: Final = getattr(os, "RWF_NOWAIT", None)
# Devices whose file system cannot say that it would wait (tmpfs); found out once for each.
_without_nowait: set[int] = set()


async def file_pieces(file: FileRange) -> AsyncGenerator[bytes | bytearray, None]:
    """The range in pieces of 256 KiB, or 32 KiB where many others are sent at the same time.

    Raises ContentDamaged when the file is shorter.
    """
    device = os.fstat(file.descriptor).st_dev
    offset = file.start
    with _Share() as share:
        while offset < file.stop:
            size = min(share.piece(), file.stop - offset)
            piece = await _read_at(file.descriptor, size, offset, device)
            if not piece:
                raise ContentDamaged(f"a file ends at byte {offset} of {file.stop}")
            offset += len(piece)
            yield piece


class _Share:
    """One body's part in the large pieces of this process."""

    taken: ClassVar[int] = 0

    def __init__(self) -> None:
        self._has_taken = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        _Share.taken -= self._has_taken

    def piece(self) -> int:
        """Bytes of the next piece; a body that goes on when others have ended gets large ones."""
        if not self._has_taken and _Share.taken < LARGE_AT_ONCE:
            self._has_taken = True
            _Share.taken += 1
        return PIECE if self._has_taken else SMALL_PIECE


async def _read_at(descriptor: int, size: int, offset: int, device: int) -> bytes | bytearray:
    if _NOWAIT is not None and device not in _without_nowait:
        buffer = bytearray(size)
        try:
            count = os.preadv(descriptor, [buffer], offset, _NOWAIT)
        except BlockingIOError:
            pass  # not in the page cache
        except OSError:
            _without_nowait.add(device)
        else:
            del buffer[count:]
            return buffer
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(None, os.pread, descriptor, size, offset)
