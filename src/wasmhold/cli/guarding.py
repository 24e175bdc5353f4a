"""From a plan to the guard before the registry."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial

from ..auth.files import AccessFiles, WhenReadable
from ..auth.guard import Guard
from ..auth.htpasswd import check
from ..auth.logins import Cores, Login
from ..servers.asgi import AsyncioRuntime, SystemRandomness
from .plan import Plan


def access_files(
    plan: Plan, heard: Callable[[Login], None] = lambda login: None
) -> AccessFiles | None:
    """The files of `plan`, read; None: everybody may do everything.

    `heard` is told of each login.  Raises FileInvalid.
    """
    return _files(plan, heard) if _is_guarded(plan) else None


def _is_guarded(plan: Plan) -> bool:
    return not (plan.htpasswd is None and plan.access is None and plan.anonymous is None)


def _files(plan: Plan, heard: Callable[[Login], None]) -> AccessFiles:
    return AccessFiles(
        plan.htpasswd,
        plan.access,
        plan.anonymous,
        check=check,
        # All workers together keep no more cores busy than there are, where there are enough.
        cores=Cores(AsyncioRuntime(), max(1, (os.cpu_count() or 1) // plan.workers), heard=heard),
        randomness=SystemRandomness(),
    )


def guard(plan: Plan, heard: Callable[[Login], None] = lambda login: None) -> Guard | None:
    """`heard` is told of each login."""
    if not _is_guarded(plan):
        return None
    return Guard(WhenReadable(partial(_files, plan, heard), time.time))
