"""How many connections a worker takes: open files and memory decide (decision 0057)."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path
from typing import Final

CONNECTIONS: Final = 8192  # open ones of each worker, idle ones too; the most
_FILES_EACH: Final = 2  # of a connection: its socket, and the file that it reads or writes
_OTHER_FILES: Final = 256  # of a process: the program, its threads, the store's folders


def connections(workers: int, head_size: int) -> int:
    """How many each of `workers` takes; `head_size` is what one may make us hold, in bytes.

    The soft limit of open files is raised for them, as far as it may be; workers inherit it.
    """
    return fitting(_raised_limit(), _memory() // workers, head_size)


def fitting(files: int, memory: int, head_size: int) -> int:
    """The connections of a process that may open `files` files, in half of `memory` bytes."""
    by_files = (files - _OTHER_FILES) // _FILES_EACH
    return max(1, min(CONNECTIONS, by_files, memory // 2 // head_size))


def _raised_limit() -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OTHER_FILES + _FILES_EACH * CONNECTIONS
    if soft == resource.RLIM_INFINITY:
        return wanted
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft < allowed:
        soft = allowed
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft


def _memory() -> int:
    """Bytes of this machine, or of the control group that we are in, where that has fewer."""
    size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, ValueError):  # another system, or no limit: the word max
        group = Path("/proc/self/cgroup").read_text().rpartition("0::/")[2].strip()
        size = min(size, int(Path("/sys/fs/cgroup", group, "memory.max").read_text()))
    return size
