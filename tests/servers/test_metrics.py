"""What is counted, by one worker and by all of them, read with another program's parsers."""

from __future__ import annotations

import os
import pickle
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families as plain_families

from tests.registries import application, serving
from tests.servers.test_asgi import talk
from wasmhold.auth.htpasswd import hash_password
from wasmhold.faults.rules import OPERATIONS
from wasmhold.oci.errors import WasmholdError
from wasmhold.ports.store import Collected
from wasmhold.servers import metrics
from wasmhold.servers.asgi import Edge
from wasmhold.servers.metrics import COUNTED, FOUND, STATUSES, Counters
from wasmhold.servers.probes import Metrics
from wasmhold.servers.shared import Shared
from wasmhold.testing.covers import covers
from wasmhold.testing.senders import to_url
from wasmhold.testing.transcript import Exchange

HOST = (b"host", b"x")
OPEN = (b"accept", b"application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5")
PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def shared(slots: int = 2) -> Shared:
    return Shared(slots, metrics.CELLS, 0)


def figures(text: str, parse=plain_families) -> dict[tuple[str, ...], float]:
    """Each sample by its name and the values of its labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in parse(text)
        for sample in family.samples
    }


def scrape(edge: Edge, *fields: tuple[bytes, bytes]) -> tuple[str, dict[bytes, bytes]]:
    status, head, body = talk(edge, path="/metrics", fields=[HOST, *fields])
    assert status == 200
    return body.decode(), head


@covers("BR-123", "OW-143")
@pytest.mark.parametrize(
    ("accept", "parse", "media_type"),
    [((), plain_families, b"text/plain; "), ((OPEN,), open_families, b"application/openmetrics")],
)
def test_both_formats_are_read_by_another_program(accept, parse, media_type):
    edge = Edge(application(), metrics=Metrics(shared()))
    for _ in range(3):
        talk(edge, fields=[HOST])
    talk(edge, path="/v2/a/tags/list", fields=[HOST])
    talk(edge, path="/nowhere", fields=[HOST])
    text, head = scrape(edge, *accept)
    assert head[b"content-type"].startswith(media_type)
    found = figures(text, parse)
    assert found["wasmhold_requests_total", "ping", "200"] == 3
    assert found["wasmhold_requests_total", "tags", "404"] == 1
    assert found["wasmhold_requests_total", "other", "404"] == 1
    assert found["wasmhold_request_duration_seconds_count", "ping"] == 3
    assert found["wasmhold_request_duration_seconds_bucket", "ping", "+Inf"] == 3
    assert found[("wasmhold_requests_in_flight",)] == 1  # this one
    assert found[("wasmhold_workers",)] == 1
    assert found[("wasmhold_sent_bytes_total",)] > 0
    assert found[("wasmhold_start_time_seconds",)] > 1.7e9


def test_head_and_other_methods():
    edge = Edge(application(), metrics=Metrics(shared()))
    status, head, body = talk(edge, "HEAD", "/metrics", fields=[HOST])
    assert (status, body) == (200, b"")
    assert int(head[b"content-length"]) > 1000
    assert talk(edge, "POST", "/metrics", fields=[HOST])[0] == 405
    assert talk(Edge(application()), path="/metrics", fields=[HOST])[0] == 404  # --no-metrics


def test_buckets_hold_what_is_not_longer():
    counted = Counters()
    for took_s in (0.0005, 0.001, 0.0011, 0.5, 100):
        counted.begin()
        counted.end("ping", 200, took_s, 0, 0)
    text = metrics.write(metrics.read([(counted.cells, True)]), openmetrics=True).decode()
    found = figures(text, open_families)
    name = "wasmhold_request_duration_seconds"
    assert [found[f"{name}_bucket", "ping", le] for le in ("0.001", "0.01", "0.1", "1.0")] == [
        2, 3, 3, 4,
    ]  # fmt: skip
    assert found[f"{name}_bucket", "ping", "60.0"] == 4
    assert found[f"{name}_count", "ping"] == 5
    assert found[f"{name}_sum", "ping"] == pytest.approx(100.5026)


@covers("BR-123")
def test_nobody_outside_can_make_a_series():
    edge = Edge(application(), metrics=Metrics(shared()))
    before = scrape(edge)[0].count("\n")
    for i in range(50):
        talk(edge, f"METHOD{i}", f"/v2/repo{i}/tags/list", fields=[HOST])
        talk(edge, path=f"/v2/repo{i}/tags/list", fields=[HOST])
    text = scrape(edge)[0]
    assert "repo" not in text
    assert "METHOD" not in text
    assert "192.0.2.1" not in text
    assert text.count("\n") < before + 40
    counted = Counters()
    counted.begin()
    counted.end("made-up", 299, 0.1, 1, 1)
    text = metrics.write(metrics.read([(counted.cells, True)]), openmetrics=False).decode()
    assert figures(text)["wasmhold_requests_total", "other", "other"] == 1


def test_every_status_and_operation_has_a_series():
    def statuses(base):
        yield base.status
        for child in base.__subclasses__():
            yield from statuses(child)

    assert set(statuses(WasmholdError)) <= set(STATUSES)
    assert {values[0] for values in metrics.DURATION.values} == OPERATIONS | {"metrics", "other"}


def test_collections_and_failures_of_upkeep_are_counted():
    made = Metrics(shared())
    edge = Edge(application(), metrics=made)
    edge._collected(Collected(7, 4096, True))
    edge._collected(Collected(0, 0, False))
    made.counters.add(metrics.UPKEEP_FAILURES)
    found = figures(scrape(edge)[0])
    assert found[("wasmhold_collections_total",)] == 2
    assert found[("wasmhold_collected_total",)] == 7
    assert found[("wasmhold_collected_bytes_total",)] == 4096
    assert found[("wasmhold_upkeep_failures_total",)] == 1
    assert time.time() - found[("wasmhold_last_collection_timestamp_seconds",)] < 60


def test_draining_is_told():
    edge = Edge(application(), metrics=Metrics(shared()))
    edge.draining = True
    assert figures(scrape(edge)[0])[("wasmhold_workers_draining",)] == 1


# ---- workers


def in_a_child(function) -> int:
    """Run `function` in a forked process that then ends at once; its pid."""
    pid = os.fork()
    if not pid:
        try:
            function()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    return pid


def test_what_a_dead_worker_counted_stays_and_the_next_counts_on():
    board = shared()

    def serve():
        counted = Metrics(board).counters
        counted.begin()
        counted.begin()
        counted.end("ping", 200, 0.01, 10, 0)

    for _ in range(3):
        in_a_child(serve)
    assert [slot.pid for slot in board.slots()] == [None]  # one slot, and nobody lives in it
    edge = Edge(application(), metrics=Metrics(board))
    found = figures(scrape(edge)[0])
    assert found["wasmhold_requests_total", "ping", "200"] == 3
    assert found[("wasmhold_received_bytes_total",)] == 30
    assert found[("wasmhold_requests_in_flight",)] == 1
    assert found[("wasmhold_workers",)] == 1


def test_a_worker_without_a_slot_serves_uncounted(caplog):
    board = shared(1)
    ready, go_on = os.pipe(), os.pipe()
    pid = os.fork()
    if not pid:
        board.claim()
        os.write(ready[1], b"x")
        os.read(go_on[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    assert board.claim() is None
    edge = Edge(application(), metrics=Metrics(board))
    assert talk(edge, fields=[HOST])[0] == 200
    assert "too many workers" in caplog.text
    os.write(go_on[1], b"x")
    os.waitpid(pid, 0)
    for descriptor in (*ready, *go_on):
        os.close(descriptor)


def test_workers_that_are_not_forked_get_it_too():
    code = (
        "import multiprocessing as m, tests.servers.test_metrics as t\n"
        "if __name__ == '__main__':\n"
        "    board = t.shared()\n"
        "    worker = m.get_context('spawn').Process(target=t.count_one, args=(board,))\n"
        "    worker.start(); worker.join()\n"
        "    print([slot.cells[:].tolist().count(1) > 0 for slot in board.slots()])\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.stdout == "[True]\n", ran.stderr


def count_one(board: Shared) -> None:
    counted = Metrics(board).counters
    counted.begin()
    counted.end("ping", 200, 0.01, 0, 0)


def test_shared_memory_is_not_for_files():
    board = pickle.loads(pickle.dumps(shared()))  # in one process it is the same memory
    assert board.secret


def get(server, path: str, headers=()) -> tuple[int, str]:
    with to_url(server.url) as send:
        answer = send(Exchange("GET", path, list(headers), None, False))
    return answer.status, answer.body.decode()


@covers("BR-123")
@pytest.mark.parametrize("workers", [1, 2])
def test_all_workers_count_together(workers, tmp_path):
    users = tmp_path / "users"
    users.write_text(f"alice:{hash_password(b'secret', 4)}\n")
    users.chmod(0o600)
    good = ("Authorization", "Basic YWxpY2U6c2VjcmV0")
    wrong = ("Authorization", "Basic YWxpY2U6d3Jvbmc=")
    flags = ("--log", "off", "--htpasswd", str(users))
    store = ("--root", str(tmp_path / "root"), "--workers", str(workers))
    with serving(*flags, store=store) as server:
        for _ in range(20):
            assert get(server, "/v2/", [good])[0] == 200
        assert get(server, "/v2/", [wrong])[0] == 401
        for _ in range(5):  # whoever answers
            found = figures(get(server, "/metrics", [good])[1])
            assert found["wasmhold_requests_total", "ping", "200"] == 20
            assert found["wasmhold_requests_total", "ping", "401"] == 1
            assert found[("wasmhold_workers",)] == workers
            assert found[("wasmhold_resident_bytes",)] > workers * 10e6
            assert found[("wasmhold_open_descriptors",)] > workers * 5
            assert found[("wasmhold_disk_free_bytes",)] > 0
            logins = [
                found["wasmhold_logins_total", result] for result in ("good", "wrong", "known")
            ]
            assert 1 <= logins[0] <= workers
            assert logins[1] == 1
            assert logins[0] + logins[2] >= 21
        # One dies, another takes its place: nothing goes backwards.
        os.kill(server.pids()[1], signal.SIGKILL)
        deadline = time.monotonic() + 30
        while True:
            try:
                text = get(server, "/metrics", [good])[1]
            except OSError:
                text = ""
            if text:
                found = figures(text)
                assert found["wasmhold_requests_total", "ping", "200"] == 20
                if found[("wasmhold_workers",)] == workers:
                    break
            assert time.monotonic() < deadline
            time.sleep(0.1)


@covers("BR-123")
def test_the_page_names_every_metric():
    told = dict(re.findall(r"^\| `(wasmhold_[a-z_]+)[`{].*?\| (\w+) \|", PAGE.read_text(), re.M))
    names = {
        f"{metric.name}_total" if metric.kind == "counter" else metric.name: metric.kind
        for metric in (*COUNTED, *FOUND)
    }
    assert told == names
