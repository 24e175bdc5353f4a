"""The access log and the event log: who, what, and never a secret."""

from __future__ import annotations

import base64
import json
import logging
import re
import time

import pytest

from tests.registries import application, serving
from tests.servers.test_asgi import talk
from wasmhold.auth.htpasswd import hash_password
from wasmhold.protocol import Request
from wasmhold.servers import event_log
from wasmhold.servers.access_log import FORMATS, AccessLog, Line, shown_target
from wasmhold.servers.asgi import Edge
from wasmhold.servers.event_log import ALL_PER_S, LEVELS, SAME_PER_S, EventHandler
from wasmhold.testing.covers import covers
from wasmhold.testing.senders import to_url
from wasmhold.testing.transcript import Exchange

HOST = (b"host", b"x")
CENSORED = "[censored]"

# fmt: off
QUERIES = [
    ("",                                   "/v2/"),
    ("n=5&last=a/b",                       "/v2/?n=5&last=a/b"),
    ("digest=sha256:ab%3A&mount=x&from=y", "/v2/?digest=sha256:ab%3A&mount=x&from=y"),
    ("token=hunter2",                      "/v2/?token=[censored]"),
    ("n=5&access_token=hunter2&last=a",    "/v2/?n=5&access_token=[censored]&last=a"),
    ("n=5;token=hunter2",                  "/v2/?n=[censored]"),
    ("hunter2",                            "/v2/?[censored]"),
    ("token=a=b&&n",                       "/v2/?token=[censored]&&n"),
    ("N=hunter2",                          "/v2/?N=[censored]"),
]
# fmt: on


@covers("OW-101")
@pytest.mark.parametrize(("query", "shown"), QUERIES)
def test_of_a_query_only_what_the_api_knows_is_shown(query, shown):
    assert shown_target("/v2/", query) == shown


# fmt: off
USERS = [
    (None,              "-",                  None),
    ("alice",           '"alice"',            "alice"),
    ("-",               '"-"',                "-"),
    ('a"\n2026 forged', '"a\\"\\n2026 forged"', 'a"\n2026 forged'),
]
# fmt: on


@covers("BR-123")
@pytest.mark.parametrize(("who", "as_text", "as_json"), USERS)
def test_a_line_says_who(who, as_text, as_json):
    line = Line("ab-1", "192.0.2.1", who, "GET", "/v2/", "ping", 200, 2, 0.25)
    text = FORMATS["text"](0.0, line)
    assert text == (f'1970-01-01T00:00:00Z 192.0.2.1 {as_text} GET "/v2/" ping 200 2 0.2ms ab-1\n')
    found = json.loads(FORMATS["json"](0.0, line))
    assert found["user"] == as_json
    assert found["id"] == "ab-1"


@covers("BR-123")
def test_the_id_of_an_answer_is_in_its_line(tmp_path):
    path = tmp_path / "log"
    with path.open("wb") as out:
        log = AccessLog(out.fileno(), FORMATS["json"])
        edge = Edge(application(), log=log)
        ids = [talk(edge, fields=[HOST])[1][b"x-request-id"].decode() for _ in range(3)]
        # What a client sends is not taken.
        sent = talk(edge, fields=[HOST, (b"x-request-id", b"mine")])[1][b"x-request-id"]
        log.flush()
    assert len({*ids, sent.decode()}) == 4
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == [
        *ids,
        sent.decode(),
    ]


# ---- events


class Events:
    """A logger that writes into a file."""

    def __init__(self, path, descriptor: int, *, as_json: bool) -> None:
        self._path, self.counted = path, []
        self.handler = EventHandler(descriptor, as_json=as_json, count=self.counted.append)
        self.logger = logging.Logger("test", event_log.TRACE)
        self.logger.addHandler(self.handler)

    def lines(self) -> list[str]:
        return self._path.read_text().splitlines()


@pytest.fixture(params=[False, True], ids=["text", "json"])
def events(request, tmp_path):
    path = tmp_path / "log"
    with path.open("wb") as out:
        made = Events(path, out.fileno(), as_json=request.param)
        made.is_json = request.param
        yield made


def test_a_record_is_one_line_that_nobody_can_forge(events):
    events.logger.warning("hello %s", "a\n2026-01-01T00:00:00Z error [1] forged\x1b[2J")
    (line,) = events.lines()
    assert "\x1b" not in line
    if not events.is_json:
        stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
        assert re.match(rf"{stamp} warn \[\d+\] hello a\\n2026", line)
    assert events.counted == ["warn"]


@covers("OW-101")
def test_a_traceback_is_one_record(events):
    try:
        raise RuntimeError("first\nsecond")
    except RuntimeError:
        events.logger.exception("broken")
    lines = events.lines()
    assert events.counted == ["error"]
    if events.is_json:
        (line,) = lines
        found = json.loads(line)
        assert (found["level"], found["event"]) == ("error", "broken")
        assert "RuntimeError: first\nsecond" in found["traceback"]
    else:
        assert all(line.startswith("    ") for line in lines[1:])
        assert lines[-1] == "    second"


def test_events_that_come_too_fast_are_left_out_and_counted(events):
    def record(message, level, second):
        made = logging.LogRecord("x", level, "x", 1, message, (), None)
        made.created = float(second)
        events.handler.emit(made)

    for _ in range(500):
        record("same", logging.INFO, 1)
    assert len(events.lines()) == SAME_PER_S
    for i in range(500):
        record(f"other {i}", logging.WARNING, 1)
    assert len(events.lines()) == ALL_PER_S
    for _ in range(50):
        record("detail", logging.DEBUG, 1)
    assert len(events.lines()) == ALL_PER_S + 50
    record("same", logging.INFO, 2)
    left_out = 500 - SAME_PER_S + 500 - (ALL_PER_S - SAME_PER_S)
    assert f"{left_out} more events" in events.lines()[-2]
    assert len(events.counted) == 500


@covers("OW-101")
def test_fields_that_look_like_secrets_are_not_shown():
    # fmt: off
    fields = [
        (b"authorization", b"Basic hunter2"), (b"proxy-authorization", b"hunter2"),
        (b"cookie", b"a=hunter2"), (b"x-api-key", b"hunter2"), (b"x-auth-token", b"hunter2"),
        (b"x-amz-security-token", b"hunter2"), (b"private-token", b"hunter2"),
        (b"x-hub-signature", b"hunter2"), (b"referer", b"http://x/?t=hunter2"),
        (b"session-id", b"hunter2"), (b"x-password", b"hunter2"), (b"user-agent", b"ora\xffs\n"),
    ]
    # fmt: on
    text = event_log.shown_fields(Request("GET", "/v2/", "", fields))
    assert "hunter2" not in text
    assert text.count(CENSORED) == len(fields) - 1
    assert '"user-agent: ora\\u00ffs\\n"' in text


SECRETS = ("hunter2", "open-sesame", "b3Blbi1zZXNhbWU", "deadbeefcookie")


def basic(user: str, password: str) -> tuple[str, str]:
    return "Authorization", f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


@covers("OW-101")
@pytest.mark.parametrize("form", ["text", "json", "off"])
@pytest.mark.parametrize("level", LEVELS)
def test_no_level_shows_a_secret(level, form, tmp_path):
    users = tmp_path / "users"
    users.write_text(f"alice:{hash_password(b'open-sesame', 4)}\n")
    users.chmod(0o600)
    flags = ("--log", form, "--verbosity", level, "--htpasswd", str(users))
    good, wrong = basic("alice", "open-sesame"), basic("alice", "hunter2")
    secrets = [*SECRETS, good[1][6:], wrong[1][6:]]
    answers = []
    with serving(*flags) as server, to_url(server.url) as send:
        for target, headers in [
            ("/v2/", [good]),
            ("/v2/", [wrong]),
            ("/v2/", [("Authorization", "Bearer hunter2")]),
            ("/v2/", [("Authorization", "hunter2")]),
            ("/v2/?token=hunter2&hunter2", [good, ("Cookie", "s=deadbeefcookie")]),
            ("/v2/_catalog?n=hunter2;x", [good]),
            ("/v2/a/manifests/b?digest=a&sig=hunter2", [good, ("X-Auth-Token", "hunter2")]),
            ("/metrics?key=hunter2", [wrong, ("Proxy-Authorization", good[1])]),
            ("/healthz?hunter2", [wrong]),
        ]:
            answers.append(send(Exchange("GET", target, headers, None, False)))
        server.stop()
        text = server.log.read_text()
    assert [answer.status for answer in answers][:4] == [200, 401, 401, 401]
    assert [secret for secret in secrets if secret in text] == []
    is_told = level in ("trace", "debug", "info")
    assert ("failed login as" in text) == is_told
    assert (CENSORED in text) == (level == "trace" or form != "off")
    if level == "trace":
        assert "authorization: [censored]" in text
        assert "cookie: [censored]" in text


@covers("OW-101")
def test_a_failed_login_says_who_and_where(tmp_path):
    users = tmp_path / "users"
    users.write_text(f"alice:{hash_password(b'open-sesame', 4)}\n")
    users.chmod(0o600)
    with serving("--log", "json", "--htpasswd", str(users)) as server, to_url(server.url) as send:
        for i in range(40):
            send(Exchange("GET", "/v2/", [basic('al"ice\n', f"x{i}")], None, False))
        time.sleep(0.3)
        lines = [line for line in server.log.read_text().splitlines() if line[0] == "{"]
    events = [json.loads(line)["event"] for line in lines if '"event"' in line]
    failed = [event for event in events if event.startswith("failed login")]
    assert failed[0] == 'failed login as "al\\"ice\\n" from 127.0.0.1'
    assert len(failed) <= 40
