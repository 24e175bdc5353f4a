"""Where credentials come from: one small port, and what joins several of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from .auth import Auth, Basic


class Credentials(Protocol):
    """Asked once a registry has asked for a login, not before."""

    async def get(self, host: str, path: str) -> Auth | None:
        """What is known for the repository `path` of `host`, both as the user writes them."""
        ...


class Chain:
    """The first of `sources` that knows some."""

    def __init__(self, *sources: Credentials) -> None:
        self._sources = sources

    async def get(self, host: str, path: str) -> Auth | None:
        for source in self._sources:
            found = await source.get(host, path)
            if found is not None:
                return found
        return None


class Given:
    """One login, for `host` alone, or (None) for any."""

    def __init__(self, auth: Auth, host: str | None = None) -> None:
        self._auth, self._host = auth, host

    async def get(self, host: str, path: str) -> Auth | None:
        return self._auth if self._host in (None, host) else None


class GitHubToken:
    """``GHCR_TOKEN``, then ``GITHUB_TOKEN``, for ``ghcr.io`` alone."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._token = environ.get("GHCR_TOKEN") or environ.get("GITHUB_TOKEN")

    async def get(self, host: str, path: str) -> Auth | None:
        return Basic("_token", self._token) if host == "ghcr.io" and self._token else None
