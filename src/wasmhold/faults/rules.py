"""Rules such as ``upload-chunk 503:2``: the next two chunks are answered with 503."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, TypeAlias, TypeVar

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

A = TypeVar("A")

_RULE = re.compile(r"(?P<effect>[^:/]+)(?::(?P<count>[1-9][0-9]{0,8}))?(?:/name=(?P<name>.+))?")
_STATUS = re.compile(r"[45][0-9]{2}")


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
class Rule(Generic[A]):
    """`text` says it as it was set, for example ``503:2/name=demo/app``.

    `count`: how many requests it meets, None: all.  `name`: the only repository it meets.
    """

    kind: str
    text: str
    action: A
    count: int | None = None
    name: str | None = None

    @staticmethod
    def parse(kind: str, text: str) -> Rule[Action]:
        """`kind` is a name of `OPERATIONS` or ``*``.  Raises RequestInvalid, NameInvalid."""
        return parse_rule(kind, text, parse_action)


def parse_rule(kind: str, text: str, parse_effect: Callable[[str], A]) -> Rule[A]:
    """The rule whose effect, the first part of `text`, `parse_effect` reads.

    Raises RequestInvalid, NameInvalid; what `parse_effect` raises.
    """
    if kind not in _NAMES:
        raise RequestInvalid(f"no such operation; there are {', '.join(sorted(_NAMES))}", kind)
    match = _RULE.fullmatch(text)
    if match is None:
        raise RequestInvalid("want EFFECT, EFFECT:COUNT or EFFECT/name=REPOSITORY", text)
    count = int(match["count"]) if match["count"] else None
    name = parse_name(match["name"]) if match["name"] else None
    return Rule(kind, text, parse_effect(match["effect"]), count, name)


def parse_action(effect: str) -> Action:
    """``close``, ``truncate``, a status or an OCI code.  Raises RequestInvalid."""
    if effect in ("close", "truncate"):
        return Close() if effect == "close" else Truncate()
    if _STATUS.fullmatch(effect):
        status = int(effect)
        code = next((c for c, s in _CODES.items() if s == status), "UNKNOWN")
        return Status(status, Entry(code, "simulated"))
    if effect in _CODES:
        return Status(_CODES[effect], Entry(effect, "simulated"))
    raise RequestInvalid(
        f"want close, truncate, a status of 400 to 599, or one of {', '.join(sorted(_CODES))}",
        effect,
    )


class Rules(Generic[A]):
    """The rules in force, tried in the order in which they were set."""

    def __init__(self, *rules: Rule[A]) -> None:
        self._rules = list(rules)
        self._met = [0] * len(rules)

    def add(self, rule: Rule[A]) -> None:
        self._rules.append(rule)
        self._met.append(0)

    def clear(self) -> None:
        self._rules.clear()
        self._met.clear()

    def listed(self) -> list[tuple[Rule[A], int]]:
        """The rules, and how many requests each has met."""
        return list(zip(self._rules, self._met, strict=True))

    def meet(self, operation: op.Operation) -> A | None:
        """What happens to `operation`, if anything does."""
        rule = self.find(operation)
        return None if rule is None else rule.action

    def find(self, operation: op.Operation) -> Rule[A] | None:
        """The first rule that fits and is not spent; it has met one more request now."""
        kind, name = kind_of(operation), op.repository_of(operation)
        for i, rule in enumerate(self._rules):
            if rule.kind not in ("*", kind) or rule.name not in (None, name):
                continue
            if rule.count is not None and self._met[i] >= rule.count:
                continue
            self._met[i] += 1
            return rule
        return None


class Faults(Rules[Action]):
    """The rules of a registry that fails on demand."""

    def simulate(self, kind: str, text: str) -> None:
        """Add a rule.  Raises RequestInvalid, NameInvalid."""
        self.add(Rule.parse(kind, text))
