"""Memory that the processes of one server share: cells of 64 bits in a file that has no name.

The parent makes it, and each worker inherits it, also one that takes the place of a dead one.  A
worker has a slot of its own, which only it writes.  That it lives is told by a lock on the slot,
which the kernel drops with the process.  What a dead worker has counted stays in its slot, and the
next one counts on from there: so no counter ever goes backwards.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import tempfile
import time
from collections.abc import Iterator
from multiprocessing import reduction
from typing import Any, Final, NamedTuple

_CELL: Final = 8  # bytes
_HEAD: Final = 3  # cells: when the server started in ms since 1970, and a secret


class Slot(NamedTuple):
    """`cells` are one worker's; `pid` is None where no worker lives."""

    cells: memoryview
    pid: int | None


class Shared:
    """`slots` of `slot_cells` cells each, and one `table` of `table_cells` for all.

    Zero at the start, and no memory of the host until it is written.
    """

    def __init__(
        self, slots: int, slot_cells: int, table_cells: int, descriptor: int | None = None
    ) -> None:
        """`descriptor`: of the file that the parent has made."""
        self._shape = slots, slot_cells, table_cells
        self._own: int | None = None
        self._slot_cells = 1 + slot_cells  # the first is the worker's pid
        self._slots = slots
        size = (_HEAD + slots * self._slot_cells + table_cells) * _CELL
        self._descriptor = _unnamed_file(size) if descriptor is None else descriptor
        # Never closed: with any descriptor of the file a process gives up all its locks on it.
        self._cells = memoryview(mmap.mmap(self._descriptor, size)).cast("Q")
        if descriptor is None:
            self._cells[0] = int(time.time() * 1000)
            self._cells[1:_HEAD] = memoryview(os.urandom((_HEAD - 1) * _CELL)).cast("Q")

    def __reduce__(self) -> tuple[Any, ...]:
        # Where workers are not forked, the descriptor is handed over to them.
        return _attach, (*self._shape, reduction.DupFd(self._descriptor))

    @property
    def started_s(self) -> float:
        """Seconds since 1970."""
        return float(self._cells[0] / 1000)

    @property
    def secret(self) -> bytes:
        """The same for all workers, and another one after each start."""
        return self._cells[1:_HEAD].tobytes()

    @property
    def table(self) -> memoryview:
        return self._cells[_HEAD + self._slots * self._slot_cells :]

    def claim(self) -> memoryview | None:
        """A slot for this process, for as long as it lives; None where all are taken."""
        for number in range(self._slots):
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
            except OSError:
                continue
            self._own = number
            self._at(number)[0] = os.getpid()
            return self._at(number)[1:]
        return None

    def slots(self) -> Iterator[Slot]:
        """Those that a worker has had."""
        for number in range(self._slots):
            cells = self._at(number)
            if cells[0]:
                yield Slot(cells[1:], cells[0] if self._lives(number) else None)

    def _at(self, number: int) -> memoryview:
        start = _HEAD + number * self._slot_cells
        return self._cells[start : start + self._slot_cells]

    def _lives(self, number: int) -> bool:
        if number == self._own:
            return True
        try:
            # Shared, so that two who look at once do not take each other for the worker.
            fcntl.lockf(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, number)
        except OSError:
            return True
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, number)
        return False


def _unnamed_file(size: int) -> int:
    """The descriptor of a file of zeros."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("wasmhold")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor


def _attach(slots: int, slot_cells: int, table_cells: int, duplicate: Any) -> Shared:
    return Shared(slots, slot_cells, table_cells, duplicate.detach())
