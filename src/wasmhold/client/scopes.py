"""What a token is asked for: ``repository:NAME:pull,push``.

Source: distribution, "Docker Registry v2 Bearer token specification", scope.
"""

from __future__ import annotations

from typing import Final, TypeAlias

# One text for each resource; the order does not matter to a token server, but to a cache.
Scopes: TypeAlias = tuple[str, ...]

CATALOG: Final[Scopes] = ("registry:catalog:*",)
NOTHING: Final[Scopes] = ()
_ORDER: Final = ("pull", "push", "delete")


def to_pull(name: str) -> Scopes:
    return (f"repository:{name}:pull",)


def to_push(name: str) -> Scopes:
    return (f"repository:{name}:pull,push",)


def to_delete(name: str) -> Scopes:
    return (f"repository:{name}:pull,delete",)


def to_mount(name: str, source: str) -> Scopes:
    return to_push(name) + to_pull(source)


def merged(wanted: Scopes, asked: str | None) -> Scopes:
    """What we want, and what a challenge's ``scope`` says that it takes."""
    actions: dict[str, set[str]] = {}
    for scope in (*wanted, *(asked or "").split()):
        resource, _, listed = scope.rpartition(":")
        actions.setdefault(resource, set()).update(filter(None, listed.split(",")))
    return tuple(f"{resource}:{_listed(found)}" for resource, found in actions.items())


def _listed(actions: set[str]) -> str:
    usual = [action for action in _ORDER if action in actions]
    return ",".join(usual + sorted(actions.difference(_ORDER)))
