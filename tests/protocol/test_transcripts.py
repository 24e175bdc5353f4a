"""Every transcript, against the application without a socket, over ASGI, and over real servers."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from tests.registries import application, flags, plan, serving
from wasmhold.cli.wiring import edge
from wasmhold.servers.asgi import Edge
from wasmhold.testing.covers import covers
from wasmhold.testing.senders import to_application, to_asgi, to_url
from wasmhold.testing.transcript import Difference, Send, parse, replay

FILES = sorted(Path(__file__).parents[1].joinpath("data/protocol").glob("*.http"))
TRANSCRIPTS = [parse(path.read_text(), path.stem) for path in FILES]
PLAIN = [transcript for transcript in TRANSCRIPTS if not transcript.settings]
ANY_URL = os.environ.get("REGISTRY_URL")
SET = [transcript for transcript in TRANSCRIPTS if transcript.settings]


def name(transcript) -> str:
    return transcript.name


def fresh() -> str:
    return f"t{secrets.token_hex(4)}/app"


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=name)
def test_application(transcript):
    replay(transcript, to_application(application(transcript.settings)), repo=fresh())


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=name)
def test_asgi(transcript):
    replay(transcript, to_asgi(Edge(application(transcript.settings))), repo=fresh())


@pytest.fixture(scope="module")
def granian_url() -> Iterator[str]:
    with serving("--log", "off") as server:
        yield server.url


@pytest.mark.parametrize("transcript", PLAIN, ids=name)
def test_granian(transcript, granian_url):
    with to_url(granian_url) as send:
        replay(transcript, send, repo=fresh())


@pytest.mark.parametrize("transcript", SET, ids=name)
def test_granian_with_settings(transcript):
    options, faults = flags(transcript.settings)
    with serving("--log", "off", *options, faults=faults) as server:
        with to_url(server.url) as send:
            replay(transcript, send, repo=fresh())


@pytest.fixture(scope="module")
def uvicorn_url() -> Iterator[str]:
    config = uvicorn.Config(edge(plan()), port=0, log_level="error", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    server.should_exit = True
    thread.join()


@covers("OW-120", "BR-097")
@pytest.mark.parametrize("transcript", PLAIN, ids=name)
def test_uvicorn(transcript, uvicorn_url):
    with to_url(uvicorn_url) as send:
        replay(transcript, send, repo=fresh())


@pytest.mark.peer
@pytest.mark.skipif(ANY_URL is None, reason="REGISTRY_URL names no registry")
@pytest.mark.parametrize("transcript", PLAIN if ANY_URL else PLAIN[:1], ids=name)
def test_any_url(transcript):
    with to_url(ANY_URL) as send:
        replay(transcript, send, repo=fresh())


def test_a_transcript_can_fail():
    def silent(exchange):
        from wasmhold.testing.transcript import Answer

        return Answer(500, [], b"")

    send: Send = silent
    for transcript in TRANSCRIPTS:
        with pytest.raises(Difference):
            replay(transcript, send, repo="demo/app")
