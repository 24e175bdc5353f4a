"""Errors and their responses, in one place each way.  Source: distribution-spec, "Error Codes"."""

from __future__ import annotations

import json
from typing import Final

from ..oci.errors import (
    Entry,
    RangeInvalid,
    RangeNotSatisfiable,
    StoreUnavailable,
    TooManyRequests,
    Unauthorized,
    Unsupported,
    WasmholdError,
)
from ..ports.body import BytesBody
from .messages import Response, field
from .operations import AppendChunk, CommitUpload, Operation
from .ranges import format_held

JSON: Final = (b"content-type", b"application/json")
API_VERSION: Final = (b"docker-distribution-api-version", b"registry/2.0")


def error_body(entries: list[Entry]) -> bytes:
    """``{"errors": [...]}`` as the specification has it."""
    errors = []
    for entry in entries:
        members: dict[str, object] = {"code": entry.code, "message": entry.message}
        if entry.detail is not None:
            members["detail"] = entry.detail
        errors.append(members)
    return json.dumps({"errors": errors}, separators=(",", ":")).encode()


def write_error(error: WasmholdError, operation: Operation | None = None) -> Response:
    """The response to a request that failed; `operation` is None where none could be read."""
    content = error_body(error.entries())
    fields = [JSON, (b"content-length", b"%d" % len(content)), API_VERSION]
    match error:
        case RangeInvalid():
            fields.append((b"range", format_held(error.expected).encode()))
            if isinstance(operation, AppendChunk | CommitUpload):
                fields.append((b"location", operation.at.target.encode()))
        case RangeNotSatisfiable():
            fields.append((b"content-range", b"bytes */%d" % error.size))
        case Unsupported():
            fields.append((b"allow", ", ".join(error.allow).encode()))
        case Unauthorized():
            fields.append((b"www-authenticate", error.challenge.encode("latin-1")))
        case TooManyRequests() | StoreUnavailable():
            fields.append((b"retry-after", b"%d" % error.retry_after_s))
    return Response(error.status, fields, BytesBody(content))


# What may be otherwise a moment later (RFC 9110, 15; RFC 6585, 4).
_PASSING: Final = frozenset({408, 429, 500, 502, 503, 504})
_MAX_WORDS: Final = 500  # characters of one message that another registry gives
_MAX_ENTRIES: Final = 20


class RemoteError(WasmholdError):
    """Another registry refused.  `answer_status` is its HTTP status, `answers` its entries."""

    def __init__(self, answer_status: int, answers: list[Entry], retry_after_s: int | None) -> None:
        said = "; ".join(f"{e.code}: {e.message}" if e.message else e.code for e in answers)
        super().__init__(f"the registry answered {answer_status}: {said or 'no reason given'}")
        self.answer_status, self.answers, self.retry_after_s = answer_status, answers, retry_after_s
        self.retryable = answer_status in _PASSING

    @property
    def codes(self) -> frozenset[str]:
        return frozenset(entry.code for entry in self.answers)


class RateLimited(RemoteError):
    """It answered 429; `retry_after_s` is its wish."""


def plain_words(text: object) -> str:
    """What a stranger says, fit for a terminal: one line, no control characters, not long."""
    if not isinstance(text, str):
        return ""
    line = " ".join(text[: 2 * _MAX_WORDS].split())
    return "".join(c for c in line if c.isprintable())[:_MAX_WORDS]


def read_error(response: Response, content: bytes) -> RemoteError:
    """What another registry's refusal says; a body in any other form says nothing."""
    entries = []
    try:
        for item in json.loads(content)["errors"][:_MAX_ENTRIES]:
            code, message = plain_words(str(item["code"])), plain_words(item.get("message"))
            entries.append(Entry(code, message, item.get("detail")))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        entries = []
    text = field(response.fields, b"retry-after") or ""
    seconds = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None
    kind = RateLimited if response.status == 429 else RemoteError
    return kind(response.status, entries, seconds)
