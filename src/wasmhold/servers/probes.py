"""What those ask that watch a server: ``/healthz``, ``/readyz`` and ``/metrics``."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import time
from collections.abc import Iterator
from typing import Final

from .. import __version__
from ..oci.errors import Unsupported, WasmholdError
from ..ports.body import BytesBody
from ..ports.store import Space, Store
from ..protocol import Request, Response, write_error
from ..protocol.messages import field_values
from . import metrics
from .application import Application, Unexpected
from .metrics import Counters, Family, Metric, Sample
from .shared import Shared

METRICS: Final = "/metrics"
HEALTH: Final = "/healthz"
READY: Final = "/readyz"
PROBES: Final = frozenset((HEALTH, READY))

ANSWER_WITHIN_S: Final = 5.0  # the store, when a probe asks
KEPT_S: Final = 1.0  # what it answered: anybody may ask, as often as they like

_LOG = logging.getLogger("wasmhold")


def _text(status: int, content: bytes, media_type: str = metrics.PLAIN) -> Response:
    fields = [
        (b"content-type", media_type.encode()),
        (b"content-length", b"%d" % len(content)),
        (b"cache-control", b"no-store"),
    ]
    return Response(status, fields, BytesBody(content))


def _fit(request: Request, response: Response) -> Response:
    """`response` as the method wants it."""
    if request.method == "HEAD":
        return Response(response.status, response.fields)
    return response


def _is_read(request: Request) -> bool:
    return request.method in ("GET", "HEAD")


def _refuse_method(request: Request) -> Response:
    error = Unsupported(f"{request.path} is only read: use GET or HEAD", ("GET", "HEAD"))
    return write_error(error)


class Readiness:
    """Whether this process should be sent requests."""

    def __init__(self, store: Store) -> None:
        self.draining = False
        self._store = store
        self._asking: asyncio.Task[str | None] | None = None
        self._asked = 0.0

    async def answer(self, request: Request) -> Response:
        """``/healthz``: the process answers.  ``/readyz``: 503 with what is missing, in a word."""
        if not _is_read(request):
            return _refuse_method(request)
        if request.path == HEALTH:
            return _fit(request, _text(200, b"ok\n"))
        missing = await self._missing()
        if missing is None:
            return _fit(request, _text(200, b"ready\n"))
        return _fit(request, _text(503, f"{missing}\n".encode()))

    async def _missing(self) -> str | None:
        if self.draining:
            return "draining"
        now = time.monotonic()
        # One question at a time: where a disk hangs, the next ones wait for the same answer.
        if self._asking is None or (self._asking.done() and now - self._asked > KEPT_S):
            self._asking, self._asked = asyncio.create_task(self._ask()), now
        await asyncio.wait([self._asking], timeout=ANSWER_WITHIN_S)
        return self._asking.result() if self._asking.done() else "the store does not answer"

    async def _ask(self) -> str | None:
        try:
            await self._store.repositories("", 1)
        except WasmholdError as error:
            _LOG.warning("not ready: %s", error)
            return f"the store answers {error.code}"
        except Exception:
            _LOG.exception("not ready: unexpected error of the store")
            return "the store answers UNKNOWN"
        return None


class Metrics:
    """One worker's counters, and how those of all are told."""

    def __init__(self, shared: Shared) -> None:
        """A slot of `shared` is this worker's from now on."""
        self._shared = shared
        cells = shared.claim()
        if cells is None:
            _LOG.warning("too many workers at once: what this one does is not counted")
        self.counters = Counters(cells)

    async def answer(
        self, application: Application, request: Request, address: str
    ) -> tuple[Response, str | None]:
        """The figures, for who may read the root of the API; and who that is."""
        who = None
        try:
            who = (await application.admit(request, address)).name
            if not _is_read(request):
                return _refuse_method(request), who
            space = await application.registry.store.space()
        except WasmholdError as error:
            return _fit(request, write_error(error)), who
        except Exception:
            _LOG.exception("unexpected error in %s", METRICS)
            return _fit(request, write_error(Unexpected())), who
        loop = asyncio.get_running_loop()
        accepted = field_values(request.fields, b"accept")
        is_open = any(item.startswith("application/openmetrics-text") for item in accepted)
        content = await loop.run_in_executor(None, self._write, space, is_open)
        media_type = metrics.OPENMETRICS if is_open else metrics.PLAIN
        return _fit(request, _text(200, content, media_type)), who

    def _write(self, space: Space | None, is_open: bool) -> bytes:
        slots = list(self._shared.slots())
        families = metrics.read([(slot.cells, slot.pid is not None) for slot in slots])
        found = self._find([slot.pid for slot in slots if slot.pid is not None], space)
        return metrics.write([*families, *found], openmetrics=is_open)

    def _find(self, pids: list[int], space: Space | None) -> Iterator[Family]:
        if space is not None:
            yield _one(metrics.DISK_FREE, space.free)
            yield _one(metrics.DISK_KEPT, space.kept)
        yield _one(metrics.WORKERS, len(pids))
        resident, descriptors = _processes(pids)
        if resident:  # where the host tells it
            yield _one(metrics.RESIDENT, resident)
            yield _one(metrics.DESCRIPTORS, descriptors)
        yield _one(metrics.DESCRIPTORS_LIMIT, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        yield _one(metrics.STARTED, self._shared.started_s)
        yield metrics.BUILD, [Sample("", (("version", __version__),), 1)]


def _one(metric: Metric, value: float) -> Family:
    return metric, [Sample("", (), value)]


def _processes(pids: list[int]) -> tuple[int, int]:
    """Resident bytes and open descriptors, of those processes that still live."""
    resident = descriptors = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/statm") as file:
                resident += int(file.read().split()[1]) * resource.getpagesize()
            descriptors += len(os.listdir(f"/proc/{pid}/fd"))
        except OSError:
            continue
    return resident, descriptors
