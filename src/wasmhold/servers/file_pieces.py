"""Bytes of a file for a server: from the page cache on the loop, from the disk in a thread.

A read that would wait for the disk must not stop the loop, and a thread for every read costs more
than the read: so it is tried with RWF_NOWAIT first (Linux), which answers at once.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from typing import Final

from ..oci.errors import ContentDamaged
from ..ports.body import PIECE, FileRange

_NOWAIT: Final = getattr(os, "RWF_NOWAIT", None)
# Devices whose file system cannot say that it would wait (tmpfs); found out once for each.
_without_nowait: set[int] = set()


async def file_pieces(file: FileRange) -> AsyncGenerator[bytes | bytearray, None]:
    """The range in pieces of 256 KiB.  Raises ContentDamaged when the file is shorter."""
    device = os.fstat(file.descriptor).st_dev
    offset = file.start
    while offset < file.stop:
        piece = await _read_at(file.descriptor, min(PIECE, file.stop - offset), offset, device)
        if not piece:
            raise ContentDamaged(f"a file ends at byte {offset} of {file.stop}")
        offset += len(piece)
        yield piece


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
