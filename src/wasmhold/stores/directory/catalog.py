"""The repositories of a store, in byte order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ...oci.errors import StoreUnavailable
from . import paths
from .files import Files
from .paths import RepositoryPaths


class Catalog:
    """Nothing is kept: the folders are the catalog.

    `look` takes in a layout that was dropped in; False where there is none.
    """

    def __init__(self, files: Files, look: Callable[[str], Awaitable[bool]]) -> None:
        self._files = files
        self._look = look

    async def page(self, after: str, limit: int) -> list[str]:
        """Names of repositories that hold a manifest."""

        async def has_manifests(of: RepositoryPaths) -> bool:
            if await self._files.has_names(of.manifests):
                return True
            try:
                return await self._look(of.name) and await self._files.has_names(of.manifests)
            except StoreUnavailable:  # it leads out of the root
                return False

        return await self._page(after, limit, has_manifests)

    async def every(self, after: str, limit: int) -> list[str]:
        """Names of all repositories that were ever written to."""

        async def is_ours(of: RepositoryPaths) -> bool:
            return await self._files.stat(of.meta) is not None

        return await self._page(after, limit, is_ours)

    async def layouts(self, after: str, limit: int) -> list[str]:
        """The same, and what was dropped in and nobody has asked for."""

        async def is_layout(of: RepositoryPaths) -> bool:
            return (
                await self._files.stat(of.meta) is not None
                or await self._files.stat(of.layout) is not None
            )

        return await self._page(after, limit, is_layout)

    async def _page(
        self, after: str, limit: int, is_wanted: Callable[[RepositoryPaths], Awaitable[bool]]
    ) -> list[str]:
        found: list[str] = []

        async def look(folder: str, prefix: str) -> None:
            try:
                names = await self._files.names(folder) or []
            except StoreUnavailable:
                if not prefix:
                    raise
                return  # a symbolic link, or a folder that we may not read: nothing of ours
            inside = {c: n for n in names if (c := paths.unescape_component(n)) is not None}
            # What lies below `a` comes behind `a-b`, as `a/` does.
            for key in sorted([*inside, *(f"{component}/" for component in inside)]):
                name = prefix + key
                if len(found) >= limit:
                    return
                if not key.endswith("/"):
                    if name > after and await is_wanted(paths.repository(name)):
                        found.append(name)
                elif name >= after or after.startswith(name):
                    await look(f"{folder}/{inside[key[:-1]]}", name)

        await look(".", "")
        return found
