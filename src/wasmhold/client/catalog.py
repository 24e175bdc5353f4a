"""A registry as a whole: is it one, and which repositories it lists.

Source: distribution, "API Version Check", "Listing Repositories".
"""

from __future__ import annotations

from typing import Final

from ..oci import limits
from ..protocol import operations as op
from ..protocol import results as res
from ..protocol.read_response import ResponseInvalid, next_page
from .credentials import Credentials
from .network import Network
from .scopes import CATALOG, NOTHING
from .session import Session

_PAGE: Final = 1000


async def repositories(
    network: Network, host: str, credentials: Credentials | None = None
) -> list[str]:
    """All names that `host` lists, in byte order.  Raises RemoteError where it lists none."""
    session = Session(network, host, "", credentials)
    found: set[str] = set()
    page: str | None = None
    while len(found) <= limits.GRAPH_NODES:
        reply = await session.ask(op.ListRepositories(_PAGE), CATALOG, page=page)
        assert isinstance(reply.result, res.RepositoriesPage)
        found.update(reply.result.names)
        link = next_page(reply.fields)
        if link is None:
            return sorted(found)
        page = reply.resolve(link)
    raise ResponseInvalid(f"{host} lists more than {limits.GRAPH_NODES} repositories")


async def ping(network: Network, host: str, credentials: Credentials | None = None) -> None:
    """Raises AuthFailed, RemoteError, Unreachable where `host` is no registry that lets us in."""
    await Session(network, host, "", credentials).ask(op.Ping(), NOTHING)
