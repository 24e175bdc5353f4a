"""Kinds of credentials.  They compare by value, and no ``repr`` shows a secret."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Anonymous:
    """Nobody: nothing is looked up, nothing is sent."""


@dataclass(frozen=True, slots=True)
class Basic:
    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Bearer:
    """A token of the registry itself, sent as it is (``registrytoken`` of docker's file)."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class IdentityToken:
    """What a token server takes in exchange for the registry's tokens; sent to no registry."""

    token: str = field(repr=False)
    user: str = ""


Auth: TypeAlias = Anonymous | Basic | Bearer | IdentityToken
