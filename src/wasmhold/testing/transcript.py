"""Transcripts: conversations with a registry, as text that anybody can write.

    # What this shows.   Covers: DS-044, DS-047
    ! sparse
    = config: {"a": 1}
    = big: 2048 bytes

    > POST /v2/{repo}/blobs/uploads/
    < 202
    < Location: {session}

    > PATCH {session}
    > Content-Range: 0-7
    > body: {config}
    < 416
    < error: BLOB_UPLOAD_INVALID

`!` names settings that the registry must have; `=` defines bytes (text, ``2048 bytes``, or
``2048 letters`` that fit into JSON), whose ``{config}``,
``{config.digest}``, ``{config.sha512}``, ``{config.size}`` stand in what follows.  ``{repo}`` and
``{other}`` are repositories of this run alone.  A request has a line, header fields, and ``body:``
or ``chunked: a | b`` (two pieces, no length).  An answer has a status (``200|404``), fields (a
value, ``*`` for any, ``/regex/``, ``{name}`` to keep it for later; ``!Name`` must be absent), and
``body:``, ``no body``, ``json:`` (members that must be there), or ``error: CODE`` (the
specification's JSON).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

_VARIABLE: Final = re.compile(r"\{([a-z][a-z0-9-]*)(?:\.([a-z0-9]+))?\}")
_SIZE: Final = re.compile(r"([0-9]+) (bytes|letters)")
_LETTERS: Final = str.maketrans("0123456789", "ghijklmnop")


@dataclass(slots=True)
class Step:
    """One request and what must be answered; values are not substituted yet."""

    line: int
    method: str
    target: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    chunks: list[str] | None = None  # None: no body
    is_chunked: bool = False
    expected: list[tuple[int, str]] = field(default_factory=list)  # line, text


@dataclass(slots=True)
class Transcript:
    name: str
    settings: list[str] = field(default_factory=list)
    definitions: list[tuple[str, str]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request as it is sent.  `chunks` None: no body; `is_chunked`: no Content-Length."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    chunks: list[bytes] | None
    is_chunked: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """`headers` have lower-case names and may repeat."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


Send = Callable[[Exchange], Answer]


class Difference(AssertionError):
    """The registry answered something else."""


def parse(text: str, name: str) -> Transcript:
    """Raises ValueError with the line that is no transcript."""
    transcript = Transcript(name)
    for number, line in enumerate(text.splitlines(), 1):
        mark, _, rest = line.partition(" ")
        if not line.strip() or mark.startswith("#"):
            continue
        try:
            _add(transcript, number, mark, rest)
        except (ValueError, IndexError) as error:
            raise ValueError(f"{name}:{number}: {line!r}: {error}") from None
    return transcript


def _add(transcript: Transcript, number: int, mark: str, rest: str) -> None:
    key, colon, value = rest.partition(": ")
    if mark == "!":
        transcript.settings.append(rest.strip())
    elif mark == "=" and colon:
        transcript.definitions.append((key, value))
    elif mark == ">" and (not transcript.steps or transcript.steps[-1].expected):
        method, target = rest.split(" ")
        transcript.steps.append(Step(number, method, target))
    elif mark == ">" and colon:
        step = transcript.steps[-1]
        if key in ("body", "chunked"):
            step.is_chunked = key == "chunked"
            step.chunks = value.split(" | ") if step.is_chunked else [value]
        else:
            step.headers.append((key, value))
    elif mark == "<" and transcript.steps:
        transcript.steps[-1].expected.append((number, rest))
    else:
        raise ValueError("want one of # ! = > <")


class _Values:
    def __init__(self, names: Mapping[str, str]) -> None:
        self._values = {key: value.encode() for key, value in names.items()}

    def define(self, key: str, text: str) -> None:
        size = _SIZE.fullmatch(text)
        if size:
            count, seed = int(size[1]), hashlib.sha256(key.encode()).digest()
            if size[2] == "letters":
                seed = seed.hex().translate(_LETTERS).encode()
            self._values[key] = (seed * (count // len(seed) + 1))[:count]
        else:
            self._values[key] = self.fill(text)

    def keep(self, key: str, value: str) -> None:
        self._values[key] = value.encode()

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def fill(self, text: str) -> bytes:
        out, end = [], 0
        for match in _VARIABLE.finditer(text):
            out += [text[end : match.start()].encode(), self._get(match[1], match[2])]
            end = match.end()
        return b"".join([*out, text[end:].encode()])

    def _get(self, key: str, attribute: str | None) -> bytes:
        value = self._values[key]
        if attribute is None:
            return value
        if attribute == "size":
            return b"%d" % len(value)
        algorithm = "sha256" if attribute == "digest" else attribute
        return f"{algorithm}:{hashlib.new(algorithm, value).hexdigest()}".encode()

    def text(self, text: str) -> str:
        return self.fill(text).decode()


def replay(transcript: Transcript, send: Send, *, repo: str) -> None:
    """Have the conversation with `send`.  Raises Difference at the first answer that differs."""
    values = _Values({"repo": repo, "other": f"{repo}-other"})
    for key, text in transcript.definitions:
        values.define(key, text)
    for step in transcript.steps:
        answer = send(
            Exchange(
                step.method,
                values.text(step.target),
                [(key, values.text(value)) for key, value in step.headers],
                None if step.chunks is None else [values.fill(chunk) for chunk in step.chunks],
                step.is_chunked,
            )
        )
        for number, expected in step.expected:
            reason = _difference(expected, answer, values, step.method)
            if reason is not None:
                raise Difference(
                    f"{transcript.name}:{number}: {step.method} {values.text(step.target)}: "
                    f"{reason}\n  answer: {answer.status} {answer.headers} {answer.body[:500]!r}"
                )


def _difference(expected: str, answer: Answer, values: _Values, method: str) -> str | None:
    """Why the answer is another one, or None."""
    key, colon, want = expected.partition(": ")
    if not colon and key.startswith("!"):
        found = dict(answer.headers).get(key[1:].lower())
        return None if found is None else f"{key[1:]} must be absent, is {found!r}"
    if expected == "no body":
        return f"the body is {answer.body[:200]!r}" if answer.body else None
    if not colon:
        statuses = key.split("|")
        return None if str(answer.status) in statuses else f"want {key}, got {answer.status}"
    if key == "body":
        content = values.fill(want)
        return None if answer.body == content else f"want the body {content[:200]!r}"
    if key == "json":
        return _json_difference(json.loads(values.text(want)), answer)
    if key == "error":
        return _error_difference(want, answer, method)
    return _field_difference(key, want, answer, values)


def _json_difference(want: object, answer: Answer) -> str | None:
    document = json.loads(answer.body)
    if isinstance(want, dict):
        document = {member: document.get(member) for member in want}
    return None if document == want else f"want {want!r}, got {document!r}"


def _error_difference(code: str, answer: Answer, method: str) -> str | None:
    kind = dict(answer.headers).get("content-type")
    if kind != "application/json":
        return f"an error is application/json, not {kind!r}"
    if method == "HEAD":
        return None if not answer.body else "HEAD has no body"
    errors = json.loads(answer.body)["errors"]
    codes = [error["code"] for error in errors]
    return None if code in codes else f"want the error {code}, got {codes}"


def _field_difference(key: str, want: str, answer: Answer, values: _Values) -> str | None:
    found = [value for name, value in answer.headers if name == key.lower()]
    if not found:
        return f"{key} is missing"
    if want == "*":
        return None
    variable = _VARIABLE.fullmatch(want)
    if variable and variable[2] is None and variable[1] not in values:
        values.keep(variable[1], found[0])
        return None
    if len(want) > 1 and want[0] == want[-1] == "/" and not want.startswith("/v2/"):
        pattern = re.compile(values.text(want[1:-1]))
        return None if any(map(pattern.fullmatch, found)) else f"{key} is {found}, want {want}"
    return None if values.text(want) in found else f"{key} is {found}, want {values.text(want)!r}"


def rows(text: str) -> Iterator[str]:
    """The specification's rows that a transcript names, behind ``Covers:``."""
    for line in text.splitlines():
        if line.startswith("#") and "Covers:" in line:
            yield from (row.strip() for row in line.partition("Covers:")[2].split(","))
