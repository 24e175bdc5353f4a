"""Rules such as ``upload-chunk 503:2``: the next two chunks are answered with 503."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from ..oci import errors
from ..oci.errors import Entry, RequestInvalid, WasmholdError
from ..oci.reference import parse_name
from ..protocol import operations as op

KINDS: Final[dict[type[op.Operation], str]] = {
    op.Ping: "ping",
    op.Redirect: "ping",
    op.GetManifest: "manifest-get",
    op.PutManifest: "manifest-put",
    op.DeleteManifest: "manifest-delete",
    op.GetBlob: "blob-get",
    op.DeleteBlob: "blob-delete",
    op.StartUpload: "upload-start",
    op.AppendChunk: "upload-chunk",
    op.CommitUpload: "upload-finish",
    op.PushBlob: "upload-finish",
    op.GetUpload: "upload-status",
    op.CancelUpload: "upload-cancel",
    op.MountBlob: "mount",
    op.ListTags: "tags",
    op.ListRepositories: "catalog",
    op.ListReferrers: "referrers",
}
_HEADS: Final = {"manifest-get": "manifest-head", "blob-get": "blob-head"}
OPERATIONS: Final = frozenset({*KINDS.values(), *_HEADS.values()})  # all that `kind_of` answers
_READS: Final = (op.GetManifest, op.GetBlob)
_NAMES: Final = OPERATIONS | {"*"}

_RULE = re.compile(
    r"(?:(?P<status>[45][0-9]{2})|(?P<code>[A-Z_]+)|(?P<word>close|truncate))"
    r"(?::(?P<count>[1-9][0-9]{0,8}))?(?:/name=(?P<name>.+))?"
)


@dataclass(frozen=True, slots=True)
class Status:
    """Answer with this status and error, before the request's body is read."""

    status: int
    entry: Entry


@dataclass(frozen=True, slots=True)
class Close:
    """Cut the connection behind the head of the answer."""


@dataclass(frozen=True, slots=True)
class Truncate:
    """Cut the connection in the middle of the answer's body."""


Action: TypeAlias = Status | Close | Truncate


def _all(base: type[WasmholdError]) -> Iterator[type[WasmholdError]]:
    for child in base.__subclasses__():
        yield child
        yield from _all(child)


# Where several errors share a code, the one nearest to the root of the tree says the status.
_CODES: Final = {c.code: c.status for c in reversed(list(_all(errors.WasmholdError)))}


def kind_of(operation: op.Operation) -> str:
    """The operation's name in rules, logs and metrics, for example ``manifest-head``."""
    kind = KINDS[type(operation)]
    if isinstance(operation, _READS) and not operation.with_body:
        return _HEADS[kind]
    return kind


@dataclass(frozen=True, slots=True)
class Rule:
    """`count`: how many requests it meets, None: all.  `name`: the only repository it meets."""

    kind: str
    action: Action
    count: int | None = None
    name: str | None = None

    @classmethod
    def parse(cls, kind: str, text: str) -> Rule:
        """`kind` is a name of `KINDS` or ``*``; `text` for example ``503:2/name=demo/app``.

        Raises RequestInvalid, NameInvalid.
        """
        if kind not in _NAMES:
            raise RequestInvalid(f"no such operation; there are {', '.join(sorted(_NAMES))}", kind)
        match = _RULE.fullmatch(text)
        if match is None:
            raise RequestInvalid("want a status, an OCI code, close or truncate", text)
        count = int(match["count"]) if match["count"] else None
        name = parse_name(match["name"]) if match["name"] else None
        return cls(kind, _action(match), count, name)


def _action(match: re.Match[str]) -> Action:
    if match["word"]:
        return Close() if match["word"] == "close" else Truncate()
    if match["status"]:
        status = int(match["status"])
        code = next((c for c, s in _CODES.items() if s == status), "UNKNOWN")
        return Status(status, Entry(code, "simulated"))
    known = _CODES.get(match["code"])
    if known is None:
        raise RequestInvalid(f"no such code; there are {', '.join(sorted(_CODES))}", match["code"])
    return Status(known, Entry(match["code"], "simulated"))


class Faults:
    """The rules in force, tried in the order in which they were set."""

    def __init__(self, *rules: Rule) -> None:
        self._rules = list(rules)
        self._met = [0] * len(rules)

    def simulate(self, kind: str, text: str) -> None:
        """Add a rule.  Raises RequestInvalid, NameInvalid."""
        self._rules.append(Rule.parse(kind, text))
        self._met.append(0)

    def clear(self) -> None:
        self._rules.clear()
        self._met.clear()

    def meet(self, operation: op.Operation) -> Action | None:
        """What happens to `operation`: the action of the first rule that fits and is not spent."""
        kind, name = kind_of(operation), op.repository_of(operation)
        for i, rule in enumerate(self._rules):
            if rule.kind not in ("*", kind) or rule.name not in (None, name):
                continue
            if rule.count is not None and self._met[i] >= rule.count:
                continue
            self._met[i] += 1
            return rule.action
        return None
