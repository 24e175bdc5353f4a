"""Content behind a plain URL: layers that a registry need not have, and whole archives.

No login is sent to the URLs of a descriptor.  Where they may lead is for the transport to say
(`transport.Reach`).  Source: image-spec, descriptor.md, "urls".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import aclosing
from typing import Final

from ..oci.descriptor import Descriptor
from ..oci.digest import DEFAULT_ALGORITHM, Digest, hasher
from ..oci.errors import (
    ArtifactInvalid,
    AuthFailed,
    DigestMismatch,
    NotFound,
    TooLarge,
    WasmholdError,
)
from ..ports.body import Body, BytesBody
from ..ports.runtime import ClientRuntime
from ..protocol import Response, read_response
from ..protocol import operations as op
from ..protocol import results as res
from ..protocol.errors import RemoteError
from ..protocol.messages import Fields, field
from ..protocol.ranges import ByteRange
from .downloads import RemoteBody, body_of
from .hosts import host_of, without_query
from .transport import Transport

MAX_URLS: Final = 5  # of one descriptor that are tried
OCTETS: Final = "application/octet-stream"
_AS_OF: Final = op.GetBlob("", Digest.of(b""))  # any: its answer is read like that of a blob
# A registry that keeps a layer from us has not got it for us.
_STATUSES: Final = frozenset({401, 403, 404, 410})
_CODES: Final = frozenset(
    {"BLOB_UNKNOWN", "MANIFEST_BLOB_UNKNOWN", "MANIFEST_UNKNOWN", "NAME_UNKNOWN", "NOT_FOUND"}
)


class UrlRefused(RemoteError):
    """A server did not give what is behind `url`, which has no query here."""

    def __init__(self, url: str, status: int) -> None:
        super().__init__(status, [], None)
        self.url = without_query(url)

    def __str__(self) -> str:
        return f"{self.url} answered {self.answer_status}"


def is_elsewhere(error: WasmholdError) -> bool:
    """Whether a registry's refusal means that a blob is to be had at its URLs, if at all."""
    if isinstance(error, RemoteError):
        return error.answer_status in _STATUSES or not _CODES.isdisjoint(error.codes)
    return isinstance(error, NotFound | AuthFailed)


class UrlBlob:
    """`client.reader.Opens`: the blob of `descriptor` behind one of its URLs."""

    def __init__(
        self, transport: Transport, runtime: ClientRuntime, url: str, descriptor: Descriptor
    ) -> None:
        self.place = without_query(url)
        self._transport, self._runtime, self._url = transport, runtime, url
        self._descriptor = descriptor

    async def blob_open(self, digest: Digest, start: int = 0) -> Body:
        """Raises UrlRefused, Unreachable, ResponseInvalid."""
        if start == self._descriptor.size:
            return BytesBody()
        part = ByteRange(start, None) if start else None
        return await _open(self._transport, self._runtime, self._url, part)


def foreign_blobs(
    transport: Transport, runtime: ClientRuntime, descriptor: Descriptor
) -> Iterator[UrlBlob]:
    """Where a blob may be had that its registry lacks, in the order in which it is tried."""
    for url in descriptor.urls[:MAX_URLS]:
        yield UrlBlob(transport, runtime, url, descriptor)


async def fetch_url(
    transport: Transport,
    runtime: ClientRuntime,
    url: str,
    write: Callable[[bytes], object],
    *,
    max_size: int,
    digest: Digest | None = None,
    fields: Fields = (),
) -> Descriptor:
    """Give all bytes behind `url` to `write`; their digest is known at the end alone.

    `fields` may have a login, which no other host gets.  Raises UrlRefused, Unreachable; TooLarge
    beyond `max_size` bytes; ArtifactInvalid when there are none; DigestMismatch; what `write`
    raises.
    """
    algorithm = DEFAULT_ALGORITHM if digest is None else digest.algorithm
    running, size = hasher(algorithm), 0

    def take(chunk: bytes) -> None:
        running.update(chunk)
        write(chunk)

    async with aclosing(await _open(transport, runtime, url, None, fields)) as body:
        if (body.size or 0) > max_size:
            raise TooLarge(max_size)
        async for chunk in body:
            size += len(chunk)
            if size > max_size:
                raise TooLarge(max_size)
            await runtime.offload(take, chunk)
    if not size:
        raise ArtifactInvalid(f"{without_query(url)} is empty")
    found = Digest(algorithm, running.hexdigest())
    if digest not in (None, found):
        raise DigestMismatch(str(digest), str(found))
    return Descriptor(OCTETS, found, size)


async def _open(
    transport: Transport,
    runtime: ClientRuntime,
    url: str,
    part: ByteRange | None,
    fields: Fields = (),
) -> RemoteBody:
    asked = [*fields, *([] if part is None else [(b"range", str(part).encode())])]
    answer = await runtime.offload(lambda: transport.request("GET", url, asked, follow=True))
    host, start = host_of(answer.url), part.first or 0 if part else 0
    if answer.status not in (200, 206):
        answer.body.close()
        raise UrlRefused(answer.url, answer.status)
    if answer.status == 200 and field(answer.fields, b"content-length") is None:
        return RemoteBody(runtime, host, answer.body, None, start)
    try:
        found = read_response(_AS_OF, Response(answer.status, answer.fields))
    except BaseException:
        answer.body.close()
        raise
    assert isinstance(found, res.BlobFound)
    return body_of(found, answer.body, start, runtime, host)
