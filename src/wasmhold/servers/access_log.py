"""One line per request, written in batches: a line costs under a microsecond."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Final

_LINES: Final = 256  # written at once
_quote = json.encoder.encode_basestring_ascii


def text_line(
    when: float, client: str, method: str, target: str, kind: str, status: int, size: int, ms: float
) -> str:
    """For people: what came from outside is quoted, so that it can forge no line."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))
    return f"{stamp} {client} {method} {_quote(target)} {kind} {status} {size} {ms:.1f}ms\n"


def json_line(
    when: float, client: str, method: str, target: str, kind: str, status: int, size: int, ms: float
) -> str:
    return (
        f'{{"time":{when:.3f},"client":{_quote(client)},"method":{_quote(method)},'
        f'"target":{_quote(target)},"operation":"{kind}","status":{status},"bytes":{size},'
        f'"ms":{ms:.3f}}}\n'
    )


FORMATS: Final = {"text": text_line, "json": json_line}


class AccessLog:
    """Lines wait until there are 256 of them, or until `flush` is called by a timer.

    `bytes` is what was sent of the body, `ms` milliseconds from the head to the last byte.
    """

    def __init__(self, descriptor: int, line: Callable[..., str]) -> None:
        self._descriptor, self._line = descriptor, line
        self._lines: list[str] = []

    @property
    def waiting(self) -> bool:
        return bool(self._lines)

    def add(
        self, client: str, method: str, target: str, kind: str, status: int, size: int, ms: float
    ) -> None:
        # A method or target may be long: what is cut here is of no use to a reader.
        self._lines.append(
            self._line(time.time(), client, method[:20], target[:2048], kind, status, size, ms)
        )
        if len(self._lines) >= _LINES:
            self.flush()

    def flush(self) -> None:
        data, self._lines = "".join(self._lines).encode(), []
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except OSError:
                return  # a full disk or a closed pipe must not stop the registry
