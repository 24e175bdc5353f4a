"""Kinds of credentials.  They compare by value, and no ``repr`` shows a secret."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeAlias


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

ACCOUNT: Final = "<token>"  # the user's name where the password is a token


class RegistryAuth:
    """The kinds of credentials by one name: ``RegistryAuth.Basic("user", "password")``."""

    Anonymous: Final = Anonymous()
    Basic: Final = Basic
    Bearer: Final = Bearer

    @staticmethod
    def of(user: str, password: str) -> Auth:
        """Those of a user and password; without a user, or with ``<token>``, that of a token."""
        return Basic(user, password) if user not in ("", ACCOUNT) else Bearer(password)
