"""Events: what an operator must know, and on demand what each request said.

One record is one line, and one write; the lines of a traceback follow it, set in.
Whatever came from outside can forge no line, and no credentials are shown at any level.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable
from typing import Final

from ..protocol import Request
from .access_log import CENSORED, shown_target, stamp_of

TRACE: Final = 5
LEVELS: Final = {
    "trace": TRACE,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
_NAMES: Final = {number: name for name, number in LEVELS.items()}

SAME_PER_S: Final = 10  # records of one kind in a second
ALL_PER_S: Final = 100
_VALUE: Final = 300  # characters of a field's value that are shown

# Referer may hold the query of another request.
_SECRET = re.compile(
    "auth|cookie|token|secret|passw|credential|signature|session|api-?key|private|referer", re.I
)

_LOG = logging.getLogger("wasmhold")


def shown_fields(request: Request) -> str:
    """``name: value`` of each field of the head, quoted; what looks like a secret is not shown."""
    shown = []
    for name, value in request.fields:
        key = name.decode("latin-1")
        text = CENSORED if _SECRET.search(key) else value[:_VALUE].decode("latin-1")
        shown.append(json.dumps(f"{key}: {text}"))
    return " ".join(shown)


def trace(request_id: str, client: str, request: Request) -> None:
    """The head of a request."""
    target = json.dumps(shown_target(request.path, request.query))
    method = request.method[:20]
    _LOG.log(TRACE, "%s %s %s %s %s", request_id, client, method, target, shown_fields(request))


class _Flood:
    """At most so many records in a second: who can make us write one must not fill the disk."""

    def __init__(self) -> None:
        self._second = 0
        self._same: dict[object, int] = {}
        self._all = self._left_out = 0

    def lets_pass(self, what: object, second: int) -> bool:
        if second != self._second:
            self._second, self._all = second, 0
            self._same.clear()
        same = self._same.get(what, 0)
        if self._all >= ALL_PER_S or same >= SAME_PER_S:
            self._left_out += 1
            return False
        self._all += 1
        self._same[what] = same + 1
        return True

    def left_out(self, second: int) -> int:
        """How many records of the seconds before have not been let pass, told once."""
        count = 0
        if second != self._second:
            count, self._left_out = self._left_out, 0
        return count


class EventHandler(logging.Handler):
    """Writes to a descriptor; what a traceback says goes nowhere else."""

    def __init__(
        self, descriptor: int, *, as_json: bool, count: Callable[[str], None] | None = None
    ) -> None:
        """`count` hears of each warning and each error, ``warn`` or ``error``, written or not."""
        super().__init__()
        self._descriptor, self._as_json, self._count = descriptor, as_json, count
        self._flood = _Flood()

    def emit(self, record: logging.LogRecord) -> None:
        """A record at debug or trace is written in any number: somebody has asked for them."""
        level = _level(record.levelno)
        if self._count is not None and record.levelno >= logging.WARNING:
            self._count(level)
        if record.levelno >= logging.INFO:
            second = int(record.created)
            left_out = self._flood.left_out(second)
            if left_out:
                text = f"{left_out} more events came too fast to be written"
                self._write(self._line(record.created, "warn", text, ""))
            if not self._flood.lets_pass(record.msg, second):
                return
        traceback = ""
        if record.exc_info:
            traceback = logging.Formatter().formatException(record.exc_info)
        try:
            message = record.getMessage()
        except Exception:
            message = str(record.msg)  # of a library: a wrong format must stop nobody
        self._write(self._line(record.created, level, message, traceback))

    def _line(self, when: float, level: str, message: str, traceback: str) -> str:
        if self._as_json:
            members = {"time": round(when, 3), "level": level, "pid": os.getpid(), "event": message}
            if traceback:
                members["traceback"] = traceback
            return f"{json.dumps(members)}\n"
        line = f"{stamp_of(int(when))} {level} [{os.getpid()}] {_printable(message)}\n"
        return line + "".join(f"    {_printable(part)}\n" for part in traceback.splitlines())

    def _write(self, text: str) -> None:
        try:
            os.write(self._descriptor, text.encode("utf-8", "backslashreplace"))
        except OSError:
            return  # a full disk or a closed pipe must not stop the registry


def _level(number: int) -> str:
    """The name of the nearest level that is not above `number`."""
    return _NAMES[max((n for n in _NAMES if n <= number), default=TRACE)]


def _printable(text: str) -> str:
    """`text` with what moves a terminal's cursor written as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def configure(
    verbosity: str,
    descriptor: int,
    *,
    as_json: bool,
    count: Callable[[str], None] | None = None,
) -> None:
    """All logging of this process; of other programs' libraries warnings and errors alone."""
    root = logging.getLogger()
    root.handlers = [EventHandler(descriptor, as_json=as_json, count=count)]
    root.setLevel(max(logging.WARNING, LEVELS[verbosity]))
    _LOG.setLevel(LEVELS[verbosity])
