"""From a plan to the parts that serve, put together in each serving process."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final

from ..auth.logins import Login
from ..faults import Faults
from ..oci.errors import WasmholdError
from ..ports.runtime import Inline, run
from ..ports.store import Store
from ..registry import Registry
from ..servers import event_log, metrics, rate_limit
from ..servers.access_log import FORMATS, AccessLog
from ..servers.application import Application
from ..servers.asgi import AsyncioRuntime, Edge, SystemRandomness
from ..servers.metrics import EVENTS, LOGINS
from ..servers.probes import Metrics
from ..servers.proxies import parse_networks
from ..servers.rate_limit import TableLimiter
from ..servers.shared import Shared
from ..servers.tls import Certificate
from ..stores.directory.flock import flock
from ..stores.directory.native import NativeFiles
from ..stores.directory.root import enter, leave
from ..stores.directory.store import DirectoryStore
from ..stores.memory import MemoryStore
from .group import CommandFailed
from .guarding import guard
from .plan import Plan

SLOTS: Final = 8  # for each worker: old ones may take long to end while new ones serve

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


def shared_memory(plan: Plan) -> Shared:
    """What the workers of `plan` share, made before them."""
    return Shared(SLOTS * plan.workers, metrics.CELLS, rate_limit.CELLS)


def certificate(plan: Plan) -> Certificate | None:
    """The certificate of `plan`, not read yet; None: plain HTTP."""
    if plan.tls_cert is None or plan.tls_key is None:
        return None
    return Certificate(plan.tls_cert, plan.tls_key)


def application(
    plan: Plan, shared: Shared | None = None, heard: Callable[[Login], None] = lambda login: None
) -> Application:
    """The registry of `plan`, without a socket.

    `shared` None: without a limit of requests.  `heard` is told of each login.

    Raises ValueError, RequestInvalid; StoreUnavailable.
    """
    faults = Faults() if plan.faults else None
    for kind, error in plan.faults:
        assert faults is not None
        faults.simulate(kind, error)
    limiter = None
    if shared is not None and plan.rate_limit:
        limiter = TableLimiter(plan.rate_limit, shared.table, shared.secret, time.monotonic)
    return Application(
        Registry(open_store(plan), plan.settings),
        guard=guard(plan, heard),
        limiter=limiter,
        faults=faults,
        warnings=plan.warnings,
    )


def edge(plan: Plan, shared: Shared | None = None) -> Edge:
    """The ASGI application of `plan`; its logs go to standard error.

    `shared`: what all workers have been given; None: this process is the whole server.
    """
    shared = shared_memory(plan) if shared is None else shared
    out = sys.stderr.fileno()
    figures = Metrics(shared)
    log_events(plan, partial(figures.counters.add, EVENTS, 1))
    line = FORMATS.get(plan.log)
    return Edge(
        application(plan, shared, partial(figures.counters.add, LOGINS, 1)),
        log=None if line is None else AccessLog(out, line),
        metrics=figures if plan.metrics else None,
        trusted=parse_networks(plan.trusted_proxies),
        body_idle_s=plan.body_idle_s,
        send_idle_s=plan.send_idle_s,
    )


def log_events(plan: Plan, count: Callable[[str], None] | None = None) -> None:
    """Events of this process go to standard error; `count` hears of warnings and errors."""
    event_log.configure(
        plan.verbosity, sys.stderr.fileno(), as_json=plan.log == "json", count=count
    )
