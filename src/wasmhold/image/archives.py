"""Archives that lie behind a URL, fetched into a file.

`wasmhold.fetch_archive` is for asyncio, `wasmhold.sync.fetch_archive` for who has no loop.
"""

from __future__ import annotations

import os
from contextlib import closing
from typing import Final, TypedDict, Unpack

from ..client.aio import AsyncioRuntime
from ..client.credentials import Anonymous, Auth, Basic, Bearer
from ..client.hosts import host_of
from ..client.opening import Opener
from ..client.output import new_file, target_of
from ..client.settings import Settings
from ..client.tokens import basic, of_bearer
from ..client.urls import fetch_url
from ..client.verbs import warn_user
from ..oci import limits
from ..oci.descriptor import Descriptor
from ..oci.digest import Digest
from ..oci.errors import AuthFailed
from ..protocol.messages import Fields

MAX_ARCHIVE: Final = limits.ARCHIVE_UNPACKED  # bytes, where nothing else is said


class How(TypedDict, total=False):
    """What `fetch_archive` may be told.

    max_size  bytes; more are refused
    digest    what the bytes must have
    settings  hosts of plain HTTP, whether private addresses may be asked, authorities, times
    """

    max_size: int
    digest: Digest | str | None
    settings: Settings | None


async def fetch_archive(
    url: str, path: str | os.PathLike[str], auth: Auth | None = None, **how: Unpack[How]
) -> Descriptor:
    """Fetch what is behind `url` as the file `path`, which has its name when it is whole.

    Only https, and hosts that are listed for plain HTTP; only public addresses, unless all are
    allowed.  `auth`, a Basic or a Bearer, goes to the host of `url` alone.  Raises Unreachable,
    UrlRefused; TooLarge, ArtifactInvalid for nothing; DigestMismatch; AuthFailed for another kind
    of login; Denied, OutOfSpace, StoreUnavailable of the file system.
    """
    settings = how.get("settings") or Settings()
    with (
        closing(AsyncioRuntime()) as runtime,
        closing(Opener(settings, runtime, warn_user)) as opener,
    ):
        return await fetch(opener, url, path, auth, how)


async def fetch(
    opener: Opener, url: str, path: str | os.PathLike[str], auth: Auth | None, how: How
) -> Descriptor:
    """The same by an opener, whose settings hold."""
    file, digest, runtime = os.fspath(path), how.get("digest"), opener.runtime
    fields = _login(url, auth)
    target_of(file)  # before anything is asked for
    async with new_file(file, 0o644, runtime) as write:
        return await fetch_url(
            opener.outside,
            runtime,
            url,
            write,
            max_size=how.get("max_size", MAX_ARCHIVE),
            digest=Digest.parse(digest) if isinstance(digest, str) else digest,
            fields=fields,
        )


def _login(url: str, auth: Auth | None) -> Fields:
    match auth:
        case None | Anonymous():
            return []
        case Basic():
            value = basic(auth)
        case Bearer():
            value = of_bearer(auth, host_of(url))
        case _:
            reason = "an identity token is for token servers, want Basic or Bearer"
            raise AuthFailed(host_of(url), reason)
    return [(b"authorization", value.encode("latin-1"))]
