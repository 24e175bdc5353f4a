"""One line per request, written in batches: a line costs a few microseconds."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple

_LINES: Final = 256  # written at once
_quote = json.encoder.encode_basestring_ascii

CENSORED: Final = "[censored]"
# What the API knows; anything else in a query may be a secret that somebody put there.
_KNOWN: Final = frozenset(
    ("n", "last", "digest", "mount", "from", "tag", "artifactType", "digest-algorithm")
)
_PLAIN = re.compile(r"[A-Za-z0-9._/:%+@-]*")


def shown_target(path: str, query: str) -> str:
    """The target of a request, without the values of what the API does not know."""
    if not query:
        return path
    return f"{path}?{'&'.join(map(_shown, query.split('&')))}"


def _shown(parameter: str) -> str:
    name, equals, value = parameter.partition("=")
    if not equals:
        return name if name in _KNOWN or not name else CENSORED
    if name in _KNOWN and _PLAIN.fullmatch(value):
        return parameter
    return f"{name}={CENSORED}"


# Many lines are of one second.
@lru_cache(maxsize=8)
def stamp_of(when: int) -> str:
    """Seconds since 1970 as RFC 3339 has them, in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))


class Line(NamedTuple):
    """One request.

    id    its own, which its answer carries too
    who   the user who has logged in, None: nobody
    kind  the operation, ``-``: none
    size  bytes that were sent of the answer's body
    ms    milliseconds from the head to the last byte
    """

    id: str
    client: str
    who: str | None
    method: str
    target: str
    kind: str
    status: int
    size: int
    ms: float


def text_line(when: float, line: Line) -> str:
    """For people: what came from outside is quoted, so that it can forge no line."""
    request, client, who, method, target, kind, status, size, ms = line
    stamp = stamp_of(int(when))
    user = "-" if who is None else _quote(who)
    asked = f"{client} {user} {method} {_quote(target)} {kind}"
    return f"{stamp} {asked} {status} {size} {ms:.1f}ms {request}\n"


def json_line(when: float, line: Line) -> str:
    request, client, who, method, target, kind, status, size, ms = line
    user = "null" if who is None else _quote(who)
    return (
        f'{{"time":{when:.3f},"client":{_quote(client)},"user":{user},"method":{_quote(method)},'
        f'"target":{_quote(target)},"operation":"{kind}","status":{status},"bytes":{size},'
        f'"ms":{ms:.3f},"id":"{request}"}}\n'
    )


FORMATS: Final = {"text": text_line, "json": json_line}


class AccessLog:
    """Lines wait until there are 256 of them, or until `flush` is called by a timer."""

    def __init__(self, descriptor: int, line: Callable[[float, Line], str]) -> None:
        self._descriptor, self._line = descriptor, line
        self._lines: list[str] = []

    @property
    def waiting(self) -> bool:
        return bool(self._lines)

    def add(self, line: Line) -> None:
        """`line.method` and `line.target` are short enough for a reader."""
        self._lines.append(self._line(time.time(), line))
        if len(self._lines) >= _LINES:
            self.flush()

    def flush(self) -> None:
        data, self._lines = "".join(self._lines).encode(), []
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except OSError:
                return  # a full disk or a closed pipe must not stop the registry
