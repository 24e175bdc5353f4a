"""Who may do what: the rules of an access file.

    [groups.deployers]
    members = ["ci", "alice"]

    [[acls]]
    repo = "team/*"
    members = ["deployers"]
    access = ["read", "write"]

    [[acls]]
    repo = "public/*"
    anonymous = true
    access = ["read"]

The form and its meaning are olareg's (`users`, `groups`, `acls`), so that its files can be carried
over.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from ..oci.errors import Fault, FileInvalid, NameInvalid
from ..oci.reference import parse_name
from ..oci.suggestions import unknown_key
from .passwords import fault_of_hash, fault_of_name
from .rights import ALL, Right

_WORDS: Final[dict[str, tuple[Right, ...]]] = {
    "read": (Right.READ,),
    "pull": (Right.READ,),
    "write": (Right.WRITE,),
    "push": (Right.WRITE,),
    "delete": (Right.DELETE,),
    "*": ALL,
}
_PATTERN: Final = re.compile(r"[a-z0-9._/*-]*")
_REMEMBERED: Final = 4096  # answers for a user and a repository


def glob_matches(parts: tuple[str, ...], name: str) -> bool:
    """Does `name` match the pattern whose texts between the stars are `parts`?

    Each text is looked for where it comes first, so the time is that of a search, whatever the
    name: a regular expression with many stars could be made to take for ever.
    """
    first, *middle, last = parts if len(parts) > 1 else (*parts, "")
    if len(parts) == 1:
        return name == first
    if not name.startswith(first):
        return False
    at = len(first)
    for text in middle:
        at = name.find(text, at)
        if at < 0:
            return False
        at += len(text)
    return len(name) - len(last) >= at and name.endswith(last)


@dataclass(frozen=True, slots=True)
class Rule:
    """`rights` in the repositories that `repo` matches, where a star is any text.

    users      whom the rule names, groups resolved; None: everybody who has logged in
    anonymous  it names those who have not
    """

    repo: str
    users: Collection[str] | None
    rights: tuple[Right, ...]
    anonymous: bool = False
    _parts: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_parts", tuple(self.repo.split("*")))

    def names(self, user: str | None, *, anonymous_too: bool) -> bool:
        if user is None:
            return self.anonymous
        return self.users is None or user in self.users or (anonymous_too and self.anonymous)

    def matches(self, repository: str) -> bool:
        """The root of the API is an empty text, which only an empty `repo` means."""
        return glob_matches(self._parts, repository) if repository else not self.repo


class Access:
    """The rules in force, compiled; what they say is remembered within a bound.

    `users`: names with a password in the file, and its bcrypt hash.
    """

    def __init__(
        self,
        rules: Collection[Rule],
        *,
        users: Mapping[str, str] | None = None,
        anonymous_applies_to_users: bool = False,
    ) -> None:
        self.users = users or {}
        self._anonymous_too = anonymous_applies_to_users
        # The longest text first, of equally long ones the later: the first that matches wins.
        ranked = sorted(enumerate(rules), key=lambda item: (len(item[1].repo), item[0]))
        self._rules = [rule for _, rule in reversed(ranked)]
        self._of = lru_cache(_REMEMBERED)(self._find_rules)
        self.winner = lru_cache(_REMEMBERED)(self._find_winner)
        self.reads_all = lru_cache(_REMEMBERED)(self._find_reads_all)

    @property
    def names_users(self) -> bool:
        return any(rule.users != frozenset() for rule in self._rules)

    def _find_rules(self, user: str | None) -> tuple[Rule, ...]:
        return tuple(r for r in self._rules if r.names(user, anonymous_too=self._anonymous_too))

    def _find_winner(self, user: str | None, repository: str) -> Rule | None:
        """The rule that decides what `user` (None: nobody) may do in `repository`, if any does.

        Of those that name the user the one with the longest `repo`, of equally long ones the
        later.  An empty `repository` is the root of the API.
        """
        return next((rule for rule in self._of(user) if rule.matches(repository)), None)

    def _find_reads_all(self, user: str | None) -> bool:
        """Whether it is certain that `user` may read every repository there can be."""
        rules = [rule for rule in self._of(user) if rule.repo]
        return any(set(rule.repo) == {"*"} for rule in rules) and all(
            Right.READ in rule.rights for rule in rules
        )


def for_everybody(*, users: bool, anonymous: tuple[Right, ...]) -> Access:
    """The rules without a file: users, where there are any, may do all, others what is said."""
    rules = [Rule("*", None, ALL)] if users else []
    return Access([*rules, Rule("*", (), anonymous, anonymous=True)] if anonymous else rules)


def parse_access(document: Mapping[str, object], file: str) -> Access:
    """The rules in an access file that has been read as TOML or JSON; `file` is its name.

    Raises FileInvalid with every fault and its place.
    """
    reading = _Reading()
    users = reading.users(document.get("users", {}))
    groups = reading.groups(document.get("groups", {}), users)
    rules = reading.rules(document.get("acls", []), groups)
    also = document.get("anonymous_applies_to_users", False)
    if not isinstance(also, bool):
        reading.faults.append(Fault("anonymous_applies_to_users", "want true or false"))
    reading.keys("", document, {"users", "groups", "acls", "anonymous_applies_to_users"})
    if reading.faults:
        raise FileInvalid(file, *reading.faults)
    return Access(rules, users=users, anonymous_applies_to_users=bool(also))


class _Reading:
    """The parts of a document, and everything that is wrong with them."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def _fault(self, place: str, reason: str) -> None:
        self.faults.append(Fault(place, reason))

    def keys(self, place: str, table: Mapping[str, object], known: Collection[str]) -> None:
        for key in table:
            if key not in known:
                self._fault(f"{place}.{key}" if place else key, unknown_key(key, known))

    def _tables(self, place: str, value: object) -> Iterator[tuple[str, str, Mapping[str, object]]]:
        """Place, name and table of each member of a table of tables."""
        if not isinstance(value, dict):
            self._fault(place, "want a table with a name for each member")
            return
        for name, table in value.items():
            where = f"{place}.{name}"
            if (fault := fault_of_name(name)) is not None:
                self._fault(where, fault)
            elif isinstance(table, dict):
                yield where, name, table
            else:
                self._fault(where, "want a table")

    def _texts(self, place: str, value: object) -> list[tuple[str, str]]:
        """Place and text of each member of a list."""
        if not isinstance(value, list):
            self._fault(place, "want a list of texts")
            return []
        found = []
        for i, item in enumerate(value):
            if isinstance(item, str):
                found.append((f"{place}[{i}]", item))
            else:
                self._fault(f"{place}[{i}]", "want a text")
        return found

    def users(self, value: object) -> dict[str, str]:
        found = {}
        for place, name, table in self._tables("users", value):
            self.keys(place, table, {"cred"})
            cred = table.get("cred")
            reason = fault_of_hash(cred) if isinstance(cred, str) else "want a bcrypt hash as text"
            if reason is not None:
                self._fault(f"{place}.cred", reason)
            else:
                found[name] = str(cred)
        return found

    def groups(self, value: object, users: Collection[str]) -> dict[str, list[str]]:
        found = {}
        for place, name, table in self._tables("groups", value):
            self.keys(place, table, {"members"})
            members = self._texts(f"{place}.members", table.get("members", []))
            found[name] = [text for _, text in members]
            if name in users:
                self._fault(place, "a user has this name too: rename one of them")
        return found

    def rules(self, value: object, groups: Mapping[str, list[str]]) -> list[Rule]:
        if not isinstance(value, list):
            self._fault("acls", "want a list of rules")
            return []
        found = []
        for i, table in enumerate(value):
            if isinstance(table, dict):
                found.append(self._rule(f"acls[{i}]", table, groups))
            else:
                self._fault(f"acls[{i}]", "want a table with repo and access")
        return found

    def _rule(
        self, place: str, table: Mapping[str, object], groups: Mapping[str, list[str]]
    ) -> Rule:
        self.keys(place, table, {"repo", "members", "access", "anonymous"})
        repo, anonymous = table.get("repo"), table.get("anonymous", False)
        if not isinstance(repo, str):
            self._fault(f"{place}.repo", "want a name, in which a * is any text")
            repo = ""
        elif (reason := _fault_of_pattern(repo)) is not None:
            self._fault(f"{place}.repo", reason)
        if not isinstance(anonymous, bool):
            self._fault(f"{place}.anonymous", "want true or false")
        members = [text for _, text in self._texts(f"{place}.members", table.get("members", []))]
        if "members" not in table and not anonymous:
            self._fault(place, "the rule names nobody: it needs members, or anonymous = true")
        rights: set[Right] = set()
        for where, word in self._texts(f"{place}.access", table.get("access")):
            if word in _WORDS:
                rights.update(_WORDS[word])
            else:
                self._fault(where, f"{word!r} is no right; there are {', '.join(_WORDS)}")
        return Rule(
            repo,
            frozenset(_resolved(members, groups)),
            tuple(right for right in ALL if right in rights),
            anonymous is True,
        )


def _fault_of_pattern(repo: str) -> str | None:
    """Why no repository can match: then the rule is a slip."""
    if "*" in repo:
        if _PATTERN.fullmatch(repo) is None:
            return "no repository has such a name: lower-case letters, digits and ._-/ make one"
    elif repo:
        try:
            parse_name(repo)
        except NameInvalid as error:
            return error.reason
    return None


def _resolved(members: list[str], groups: Mapping[str, list[str]]) -> set[str]:
    """The users among `members` and in their groups; each group is looked into once."""
    users, seen, todo = set(), set(), list(members)
    while todo:
        name = todo.pop()
        if name not in groups:
            users.add(name)
        elif name not in seen:
            seen.add(name)
            todo += groups[name]
    return users
