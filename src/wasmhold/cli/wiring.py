"""From a plan to the parts that serve, put together in each serving process."""

from __future__ import annotations

import logging
import sys
import time
from contextlib import closing
from pathlib import Path

from ..faults import Faults
from ..oci.errors import WasmholdError
from ..ports.runtime import Inline, run
from ..ports.store import Store
from ..registry import Registry
from ..servers.access_log import FORMATS, AccessLog
from ..servers.application import Application
from ..servers.asgi import AsyncioRuntime, Edge, SystemRandomness
from ..stores.directory.flock import flock
from ..stores.directory.native import NativeFiles
from ..stores.directory.root import enter, leave
from ..stores.directory.store import DirectoryStore
from ..stores.memory import MemoryStore
from .group import CommandFailed
from .guarding import guard
from .plan import Plan

_LOG = logging.getLogger("wasmhold")


def open_store(plan: Plan) -> Store:
    """The store of `plan`, for as long as this process lives.  Raises StoreUnavailable."""
    runtime, randomness = AsyncioRuntime(), SystemRandomness()
    if plan.root is None:
        return MemoryStore(runtime, randomness)
    with _without_a_loop(plan.root) as files:
        root = run(enter(files, randomness))
    served = NativeFiles(plan.root, runtime, locks=flock, durable=plan.durable)
    return DirectoryStore(served, runtime, randomness, root, _LOG.warning, min_free=plan.min_free)


def _without_a_loop(root: str) -> closing[NativeFiles]:
    """The directory before there is an event loop."""
    return closing(NativeFiles(root, Inline(time.time, time.sleep), locks=flock))


def check_root(root: Path) -> None:
    """Make the directory if it is not there, and tell now what a worker could not."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _without_a_loop(str(root)) as files:
            run(leave(files, run(enter(files, SystemRandomness()))))
    except OSError as error:
        reason = error.strerror or str(error)
    except WasmholdError as error:
        reason = str(error)
    else:
        return
    raise CommandFailed(
        f"cannot use {root}: {reason}", "choose another directory with --root"
    ) from None


def application(plan: Plan) -> Application:
    """The registry of `plan`, without a socket.

    Raises ValueError, RequestInvalid; FileInvalid; StoreUnavailable.
    """
    faults = Faults() if plan.faults else None
    for kind, error in plan.faults:
        assert faults is not None
        faults.simulate(kind, error)
    return Application(
        Registry(open_store(plan), plan.settings),
        guard=guard(plan),
        faults=faults,
        warnings=plan.warnings,
    )


def edge(plan: Plan) -> Edge:
    """The ASGI application of `plan`; its access log goes to standard error."""
    line = FORMATS.get(plan.log)
    return Edge(
        application(plan),
        log=None if line is None else AccessLog(sys.stderr.fileno(), line),
        body_idle_s=plan.body_idle_s,
        send_idle_s=plan.send_idle_s,
    )
