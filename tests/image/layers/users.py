"""Work that is done without the rights of root."""

from __future__ import annotations

import os
from collections.abc import Callable


def as_nobody(work: Callable[[], object]) -> None:
    """Run `work` as a user who is not root, in a process of its own."""
    if os.geteuid() != 0:
        work()
        return
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            work()
            status = 0
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
