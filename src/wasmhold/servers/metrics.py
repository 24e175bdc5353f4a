"""What the server counts, and how it is written for a collector of metrics.

Every series has its cell from the start: what no label lists is counted as ``other``, so that
nobody outside can make a new one.  Sources: OpenMetrics 1.0; the Prometheus text format 0.0.4.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias

from ..faults.rules import OPERATIONS

OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PLAIN: Final = "text/plain; version=0.0.4; charset=utf-8"

# fmt: off
STATUSES: Final = (
    200, 201, 202, 204, 206, 301, 304, 307, 400, 401, 403, 404, 405, 408, 412, 413, 416, 429,
    500, 502, 503, 507,
)
# fmt: on
OTHER: Final = "other"
_OPERATIONS: Final = (*sorted(OPERATIONS), "metrics", OTHER)
_BUCKETS_MS: Final = (1, 10, 100, 1_000, 10_000, 60_000)
_BUCKETS_US: Final = tuple(1000 * ms for ms in _BUCKETS_MS)

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A family of series, one for each of `values`.

    `scale`: how many of what a cell counts make one of the metric's unit.  `over`: how the cells
    of several workers become one figure: of `alive` ones only, where the dead have none.
    """

    name: str
    kind: Kind
    help: str
    label_names: tuple[str, ...] = ()
    values: tuple[tuple[str, ...], ...] = ((),)
    scale: int = 1
    over: Literal["sum", "alive", "max"] = "sum"


class Sample(NamedTuple):
    suffix: str
    labels: tuple[tuple[str, str], ...]
    value: float


Family: TypeAlias = tuple[Metric, list[Sample]]

_STATUS_NAMES: Final = (*map(str, STATUSES), OTHER)
_EACH: Final = tuple((operation,) for operation in _OPERATIONS)

REQUESTS = Metric(
    "wasmhold_requests", "counter", "Requests that were answered.", ("operation", "status"),
    tuple((operation, status) for operation in _OPERATIONS for status in _STATUS_NAMES),
)  # fmt: skip
DURATION = Metric(
    "wasmhold_request_duration_seconds", "histogram",
    "Time from the head of a request to the last byte of its answer.", ("operation",), _EACH,
    scale=1_000_000,
)  # fmt: skip
RECEIVED = Metric("wasmhold_received_bytes", "counter", "Bytes of request bodies.")
SENT = Metric("wasmhold_sent_bytes", "counter", "Bytes of answer bodies.")
IN_FLIGHT = Metric(
    "wasmhold_requests_in_flight", "gauge", "Requests that are being answered.", over="alive"
)
DRAINING = Metric(
    "wasmhold_workers_draining", "gauge", "Workers that end and take no request.", over="alive"
)
LOGINS = Metric(
    "wasmhold_logins", "counter",
    "Passwords checked: good, wrong, or known from a check before.", ("result",),
    (("good",), ("wrong",), ("known",)),
)  # fmt: skip
COLLECTIONS = Metric(
    "wasmhold_collections", "counter", "Rounds of the collection that came to their end."
)
COLLECTED = Metric("wasmhold_collected", "counter", "Things that collections have removed.")
FREED = Metric("wasmhold_collected_bytes", "counter", "Bytes that collections have freed.")
LAST_COLLECTION = Metric(
    "wasmhold_last_collection_timestamp_seconds", "gauge",
    "When the last collection came to its end; 0: none has.", over="max",
)  # fmt: skip
UPKEEP_FAILURES = Metric(
    "wasmhold_upkeep_failures", "counter", "Times that the upkeep of the store failed."
)
EVENTS = Metric(
    "wasmhold_events", "counter", "Warnings and errors of the event log.", ("level",),
    (("warn",), ("error",)),
)  # fmt: skip

COUNTED: Final = (
    REQUESTS, DURATION, RECEIVED, SENT, IN_FLIGHT, DRAINING, LOGINS, COLLECTIONS, COLLECTED, FREED,
    LAST_COLLECTION, UPKEEP_FAILURES, EVENTS,
)  # fmt: skip

# What the process that answers finds out when it is asked.
DISK_FREE = Metric("wasmhold_disk_free_bytes", "gauge", "Free bytes of the store's disk.")
DISK_KEPT = Metric(
    "wasmhold_disk_min_free_bytes", "gauge", "Pushes are refused while less than this is free."
)
WORKERS = Metric("wasmhold_workers", "gauge", "Processes that serve.")
RESIDENT = Metric(
    "wasmhold_resident_bytes", "gauge",
    "Memory of all workers; what they share is counted for each.",
)  # fmt: skip
DESCRIPTORS = Metric(
    "wasmhold_open_descriptors", "gauge", "Open files and connections of all workers."
)
DESCRIPTORS_LIMIT = Metric(
    "wasmhold_open_descriptors_limit", "gauge", "The most that one worker may have open."
)
STARTED = Metric("wasmhold_start_time_seconds", "gauge", "When the server was started.")
BUILD = Metric("wasmhold_build_info", "gauge", "The program's version.", ("version",))

FOUND: Final = (
    DISK_FREE, DISK_KEPT, WORKERS, RESIDENT, DESCRIPTORS, DESCRIPTORS_LIMIT, STARTED, BUILD,
)  # fmt: skip


_SUM: Final = len(_BUCKETS_US) + 1  # behind the buckets and what is over them


def _width(metric: Metric) -> int:
    """Cells of one series."""
    return _SUM + 1 if metric.kind == "histogram" else 1


_FIRST: Final[dict[str, int]] = {}
CELLS = 0  # of one worker
for _metric in COUNTED:
    _FIRST[_metric.name] = CELLS
    CELLS += len(_metric.values) * _width(_metric)


class Counters:
    """One worker's.  Plain additions, by one thread at a time."""

    def __init__(self, cells: memoryview | None = None) -> None:
        """`cells` may hold what a dead worker has counted; None: nobody asks for the figures."""
        self.cells = memoryview(bytearray(8 * CELLS)).cast("Q") if cells is None else cells
        for gauge in (IN_FLIGHT, DRAINING):
            self.cells[_FIRST[gauge.name]] = 0
        # The cells of a request, and of its operation's histogram: one look at a table for both.
        first, durations, width = _FIRST[REQUESTS.name], _FIRST[DURATION.name], _width(DURATION)
        self._requests = {
            (operation, status): (first + i * len(_STATUS_NAMES) + j, durations + i * width)
            for i, operation in enumerate(_OPERATIONS)
            for j, status in enumerate((*STATUSES, 0))
        }
        self._in_flight = _FIRST[IN_FLIGHT.name]
        self._received, self._sent = _FIRST[RECEIVED.name], _FIRST[SENT.name]

    def begin(self) -> None:
        """A request has come."""
        self.cells[self._in_flight] += 1

    def end(self, operation: str, status: int, took_s: float, received: int, sent: int) -> None:
        """It has been answered, or the connection has ended; both numbers are bytes."""
        cells = self.cells
        cells[self._in_flight] -= 1
        found = self._requests.get((operation, status))
        if found is None:
            found = self._requests[
                operation if operation in _OPERATIONS else OTHER,
                status if status in STATUSES else 0,
            ]
        request, duration = found
        cells[request] += 1
        took_us = int(took_s * 1e6)
        cells[duration + bisect_left(_BUCKETS_US, took_us)] += 1
        cells[duration + _SUM] += took_us
        if received:
            cells[self._received] += received
        if sent:
            cells[self._sent] += sent

    def add(self, metric: Metric, amount: int = 1, *labels: str) -> None:
        self.cells[_FIRST[metric.name] + metric.values.index(labels)] += amount

    def set(self, metric: Metric, value: int) -> None:
        self.cells[_FIRST[metric.name]] = value


def read(workers: Sequence[tuple[memoryview, bool]]) -> Iterator[Family]:
    """What all workers together have counted; each with whether it is alive.

    Series of many that are zero are left out: nothing has happened there.
    """
    for metric in COUNTED:
        counted = [cells for cells, alive in workers if alive or metric.over != "alive"]
        join = max if metric.over == "max" else sum
        width, index = _width(metric), _FIRST[metric.name]
        samples: list[Sample] = []
        for values in metric.values:
            found = [join(c[i] for c in counted) for i in range(index, index + width)]
            index += width
            if any(found) or len(metric.values) < len(_OPERATIONS):
                labels = tuple(zip(metric.label_names, values, strict=True))
                samples += _samples(metric, labels, found)
        yield metric, samples


def _samples(
    metric: Metric, labels: tuple[tuple[str, str], ...], found: Sequence[int]
) -> Iterator[Sample]:
    if metric.kind != "histogram":
        yield Sample("_total" if metric.kind == "counter" else "", labels, found[0] / metric.scale)
        return
    count = 0
    for bound, more in zip((*_BUCKETS_MS, None), found[:-1], strict=True):
        count += more
        le = "+Inf" if bound is None else str(bound / 1000)
        yield Sample("_bucket", (*labels, ("le", le)), count)
    yield Sample("_count", labels, count)
    yield Sample("_sum", labels, found[-1] / metric.scale)


def write(families: Iterable[Family], *, openmetrics: bool) -> bytes:
    """The text of one format or the other: they differ in the names of counters and in the end."""
    lines = []
    for metric, samples in families:
        name = metric.name
        if metric.kind == "counter" and not openmetrics:
            name += "_total"
        lines += [f"# HELP {name} {metric.help}", f"# TYPE {name} {metric.kind}"]
        for suffix, labels, value in samples:
            listed = ",".join(f'{key}="{text}"' for key, text in labels)
            where = f"{{{listed}}}" if listed else ""
            lines.append(f"{metric.name}{suffix}{where} {_number(value)}")
    if openmetrics:
        lines.append("# EOF")
    return "".join(f"{line}\n" for line in lines).encode()


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))
