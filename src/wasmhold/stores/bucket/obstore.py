"""`Bucket` over an object store of a cloud, or a folder, by the package obstore.

Its calls block, so they go by `offload` and need no event loop.  Its errors quote whole answers,
names of keys and signatures among them: nothing of them is passed on but a status and a code.
"""

from __future__ import annotations

import http.client
import os
import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AbstractContextManager, aclosing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from heapq import nsmallest
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotSupportedError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import AzureStore, GCSStore, LocalStore, S3Store, from_url

from ...oci import limits
from ...oci.errors import ContentDamaged, OutOfSpace, StoreUnavailable
from ...oci.limits import MIB
from ...ports.body import PIECE
from ...ports.runtime import Runtime
from .port import PAGE, Absent, Ambiguous, Conflict, Entry, Page, Unsupported

if TYPE_CHECKING:
    from obstore import BytesStream, GetOptions, ObjectMeta, PutResult, WritableFile
    from obstore.store import ObjectStore

PART: Final = 8 * MIB  # bytes; what is larger goes up in parts of this size, at most 10,000
SMALL: Final = limits.MANIFEST + 64 * limits.KIB  # bytes of what `get` reads at once
READ: Final = MIB  # bytes that are asked of a running answer at once

_PARTS_SIDE_BY_SIDE: Final = 2  # of one object; a further one is filled meanwhile
_RETRIES: Final = 2  # of what may be sent twice
_CONNECT_S: Final = 5
_SILENCE_S: Final = 10  # in which no byte of an answer comes
_SEND_S: Final = 300  # the same for what has up to PART bytes, since sending them counts as silence
_SCRATCH: Final = "probe/"  # keys.py has this prefix
_METADATA: Final = "http://169.254.169.254/"


@dataclass(frozen=True, slots=True)
class Connection:
    """An object store, by three clients of it: for reads, for data, and for what has a condition.

    A write that is conditional is never repeated by itself: whether it had happened the first time
    is asked by who knows what was written.
    """

    place: str  # for messages
    reads: ObjectStore = field(repr=False)
    data: ObjectStore = field(repr=False)
    once: ObjectStore = field(repr=False)


def connect(
    url: str,
    *,
    region: str | None = None,
    endpoint: str | None = None,
    path_style: bool = False,
    access_key_id: str | None = None,
    secret_access_key: str | None = None,
    session_token: str | None = None,
) -> Connection:
    """What ``s3://BUCKET``, ``gs://…``, ``az://…``, ``file:///FOLDER`` or ``memory://`` names.

    What is not given comes from where obstore looks for it: the environment, and the machine's
    role.  The arguments are for S3 alone.  Nothing is asked of the store yet, only a folder is
    made where there is none.  Raises StoreUnavailable.
    """
    scheme, bucket = urlsplit(url)[:2]
    config: dict[str, Any] = {
        "region": region,
        "access_key_id": access_key_id,
        "secret_access_key": secret_access_key,
        "session_token": session_token,
    }
    if endpoint is not None:
        config |= _addressed(endpoint, bucket, path_style)
    elif path_style:
        config["virtual_hosted_style_request"] = False
    config = {name: value for name, value in config.items() if value is not None}

    def client(retries: int, silence_s: float) -> ObjectStore:
        with _translated(url, StoreUnavailable):
            return from_url(
                url,
                client_options={
                    "allow_http": (endpoint or "").startswith("http://"),
                    "connect_timeout": timedelta(seconds=_CONNECT_S),
                    "read_timeout": timedelta(seconds=silence_s),
                    "timeout": timedelta(days=1),  # of a whole answer, however large
                },
                retry_config={
                    "max_retries": retries,
                    "retry_timeout": timedelta(seconds=silence_s),
                },
                **config,
            )

    if scheme in ("memory", "file"):
        with _translated(url, StoreUnavailable):
            here = from_url(url, mkdir=True) if scheme == "file" else from_url(url)
        return Connection(url, here, here, here)
    return Connection(
        url, client(_RETRIES, _SILENCE_S), client(_RETRIES, _SEND_S), client(0, _SILENCE_S)
    )


def _addressed(endpoint: str, bucket: str, path_style: bool) -> dict[str, Any]:
    """How an S3 server at `endpoint` is asked for `bucket`: in the path, or in the host's name."""
    url = urlsplit(endpoint)
    host = url.hostname or ""
    # Nothing stands before an address, and hardly anything before localhost.
    if path_style or host == "localhost" or ":" in host or host.replace(".", "").isdigit():
        return {"endpoint": endpoint, "virtual_hosted_style_request": False}
    if not host.startswith(f"{bucket}."):
        endpoint = url._replace(netloc=f"{bucket}.{url.netloc}").geturl()
    return {"endpoint": endpoint, "virtual_hosted_style_request": True}


class ObstoreBucket:
    """`stores.bucket.port.Bucket` of the keys that begin with `prefix`, which ends with ``/``.

    A folder cannot replace what is there on a condition: that is Unsupported.
    """

    def __init__(self, connection: Connection, runtime: Runtime, prefix: str = "") -> None:
        self.place = connection.place
        self._reads, self._data, self._once = connection.reads, connection.data, connection.once
        self._runtime, self._prefix = runtime, prefix
        # Google's conditions are on generations, not on ETags.
        self._by_version = isinstance(self._once, GCSStore)
        self._is_ordered = not isinstance(self._once, LocalStore)
        self._removes: bool | None = None  # whether a condition on DELETE holds; not known yet

    # ---- small objects

    async def get(self, key: str) -> tuple[bytes, str] | None:
        """As the port says.  Raises ContentDamaged for more than SMALL bytes: nobody wrote that."""
        return await self._runtime.offload(self._get, self._prefix + key)

    def _get(self, path: str) -> tuple[bytes, str] | None:
        try:
            with self._reading():
                found = obstore.get(self._reads, path)
                if found.meta["size"] > SMALL:
                    raise ContentDamaged(f"{self.place}: {path} has {found.meta['size']} bytes")
                return bytes(found.bytes()), self._etag(found.meta)
        except Absent:
            return None

    async def create(self, key: str, body: bytes) -> str:
        return await self._runtime.offload(self._create, self._prefix + key, body)

    def _create(self, path: str, body: bytes) -> str:
        with self._writing():
            return self._etag(obstore.put(self._once, path, body, mode="create"))

    async def replace(self, key: str, body: bytes, etag: str) -> str:
        return await self._runtime.offload(self._replace, self._prefix + key, body, etag)

    def _replace(self, path: str, body: bytes, etag: str) -> str:
        version = {"version" if self._by_version else "e_tag": etag}
        with self._writing():
            return self._etag(obstore.put(self._once, path, body, mode=version))  # type: ignore[arg-type]

    def _etag(self, of: ObjectMeta | PutResult) -> str:
        return (of["version"] if self._by_version else of["e_tag"]) or ""

    # ---- removing

    async def delete(self, key: str) -> None:
        await self._runtime.offload(self._delete, self._prefix + key)

    def _delete(self, path: str) -> None:
        with self._writing():
            try:
                obstore.delete(self._reads, path)
            except FileNotFoundError:
                return

    async def remove(self, key: str, etag: str) -> None:
        """As the port says.

        Some servers know no condition on DELETE and delete whatever is there, so it is tried on an
        object of our own first, once; where it does not hold, this is Unsupported.
        """
        await self._runtime.offload(self._remove_tried, self._prefix + key, etag)

    def _remove_tried(self, path: str, etag: str) -> None:
        if self._removes is None:
            self._removes = self._holds()
        if not self._removes:
            raise Unsupported(f"{self.place} does not delete on a condition")
        self._remove(path, etag)

    def _holds(self) -> bool:
        # obstore has no such call.  A signed URL takes further fields, but for Google's.
        if not isinstance(self._once, S3Store | AzureStore):
            return False
        path = f"{self._prefix}{_SCRATCH}{os.urandom(12).hex()}"
        try:
            stale = self._create(path, b"1")
            new = self._replace(path, b"2", stale)
            try:
                self._remove(path, stale)
            except Conflict:
                self._remove(path, new)
                return True
            return False
        finally:
            self._delete(path)

    def _remove(self, path: str, etag: str) -> None:
        signer = cast(S3Store | AzureStore, self._once)
        with self._writing():
            url = urlsplit(obstore.sign(signer, "DELETE", path, timedelta(minutes=1)))
        status = self._send_delete(url.scheme, url.netloc, f"{url.path}?{url.query}", etag)
        if status in (409, 412):
            raise Conflict(path)
        if status in (401, 403):
            raise _refused(self.place, f"{status}")
        if status >= 300 and status != 404:
            raise Ambiguous(f"{self.place}: {status}")

    def _send_delete(self, scheme: str, host: str, target: str, etag: str) -> int:
        connection = (
            http.client.HTTPSConnection(
                host, timeout=_SILENCE_S, context=ssl.create_default_context()
            )
            if scheme == "https"
            else http.client.HTTPConnection(host, timeout=_SILENCE_S)
        )
        try:
            connection.connect()
        except OSError as error:
            raise StoreUnavailable(f"{self.place}: {error.strerror or 'no connection'}") from None
        try:
            connection.request("DELETE", target, headers={"If-Match": etag})
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            # Not with the cause: the URL is as good as a key, for a minute.
            raise Ambiguous(f"{self.place}: no answer") from None
        finally:
            connection.close()

    # ---- data

    async def put_data(self, key: str, chunks: AsyncIterator[bytes]) -> int:
        """As the port says; above PART bytes in parts, which are dropped when it breaks."""
        path = self._prefix + key
        begun: list[bytes] = []
        size = 0
        async for chunk in chunks:
            begun.append(bytes(chunk))
            size += len(chunk)
            if size > PART:
                break
        else:
            await self._runtime.offload(self._put, path, begun)
            return size
        writer = await self._runtime.offload(self._open_writer, path)
        try:
            for chunk in begun:
                await self._runtime.offload(self._write, writer, chunk)
            begun.clear()
            async for chunk in chunks:
                size += len(chunk)
                await self._runtime.offload(self._write, writer, bytes(chunk))
        except BaseException as error:
            await self._runtime.offload(self._abort, writer, error)
            raise
        await self._runtime.offload(self._close, writer)
        return size

    def _put(self, path: str, chunks: list[bytes]) -> None:
        with self._writing():
            obstore.put(self._data, path, b"".join(chunks), use_multipart=False)

    def _open_writer(self, path: str) -> WritableFile:
        return obstore.open_writer(
            self._data, path, buffer_size=PART, max_concurrency=_PARTS_SIDE_BY_SIDE
        )

    def _write(self, writer: WritableFile, chunk: bytes) -> None:
        with self._reading():  # nobody sees the object before the end, so nothing is unclear
            writer.write(chunk)

    def _close(self, writer: WritableFile) -> None:
        with self._writing():
            writer.close()

    def _abort(self, writer: WritableFile, error: BaseException) -> None:
        try:
            writer.__exit__(type(error), error, None)
        except (BaseError, OSError, ValueError):
            pass  # the parts stay until the bucket's rule for unfinished uploads takes them

    async def size(self, key: str) -> int | None:
        """Bytes of the object; None when there is none."""
        return await self._runtime.offload(self._size, self._prefix + key)

    def _size(self, path: str) -> int | None:
        try:
            with self._reading():
                return obstore.head(self._reads, path)["size"]
        except Absent:
            return None

    async def has(self, key: str) -> bool:
        return await self.size(key) is not None

    async def open_data(self, key: str) -> tuple[int, AsyncGenerator[bytes, None]]:
        """Size of an object and all its bytes, by one request.  Raises Absent."""
        size, stream = await self._runtime.offload(self._open, self._prefix + key, {})
        return size, self._read(stream)

    async def read_data(self, key: str, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        if start == stop:
            return
        options: GetOptions = {"range": (start, stop)}
        _, stream = await self._runtime.offload(self._open, self._prefix + key, options)
        async with aclosing(self._read(stream)) as chunks:
            async for chunk in chunks:
                for at in range(0, len(chunk), PIECE):
                    yield chunk[at : at + PIECE]

    def _open(self, path: str, options: GetOptions) -> tuple[int, BytesStream]:
        with self._reading():
            found = obstore.get(self._reads, path, options=options)
            return found.meta["size"], found.stream(READ)

    async def _read(self, stream: BytesStream) -> AsyncGenerator[bytes, None]:
        while chunk := await self._runtime.offload(self._next, stream):
            yield chunk

    def _next(self, stream: BytesStream) -> bytes:
        with self._reading():
            return next(iter(stream), b"")

    # ---- lists

    async def list(self, prefix: str, after: str, limit: int = PAGE) -> Page:
        return await self._runtime.offload(self._list, prefix, after, min(limit, PAGE))

    def _list(self, prefix: str, after: str, limit: int) -> Page:
        # One more tells whether there are more; of a full page, that may be said in vain.
        want = min(limit + 1, PAGE)
        entries = self._listed(prefix, max(prefix, after))
        with self._reading():
            found = [*islice(entries, want)] if self._is_ordered else nsmallest(want, entries)
        return Page(found[:limit], len(found) == want)

    def _listed(self, prefix: str, after: str) -> Iterator[Entry]:
        # obstore takes whole folders alone for a prefix.
        folder = self._prefix + prefix[: prefix.rfind("/") + 1]
        cut = len(self._prefix)
        pages = obstore.list(
            self._reads, folder or None, offset=self._prefix + after or None, chunk_size=PAGE
        )
        for page in pages:
            for meta in page:
                key = meta["path"][cut:]
                if key.startswith(prefix):
                    modified = meta["last_modified"].timestamp()
                    yield Entry(key, meta["size"], self._etag(meta), modified)
                elif self._is_ordered and key > prefix:
                    return

    # ---- errors

    def _reading(self) -> AbstractContextManager[None]:
        return _translated(self.place, StoreUnavailable)

    def _writing(self) -> AbstractContextManager[None]:
        return _translated(self.place, Ambiguous)


@contextmanager
def _translated(place: str, unclear: type[StoreUnavailable] | type[Ambiguous]) -> Iterator[None]:
    """obstore's errors become ours, without their text; `unclear` where it may have happened."""
    try:
        yield
    except (AlreadyExistsError, PreconditionError):
        raise Conflict(place) from None
    except (NotImplementedError, NotSupportedError):
        raise Unsupported(f"{place} cannot do that") from None
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise _refused(place, _reason(str(error))) from None
    except (BaseError, OSError, ValueError) as error:
        text = str(error)
        if "<Code>NoSuchBucket<" in text:
            raise _refused(place, "there is no such bucket: make it first") from None
        if _METADATA in text:  # it was asked of the machine in the end
            raise _refused(
                place, "no credentials were given, and neither environment nor machine has any"
            ) from None
        if isinstance(error, FileNotFoundError):
            raise Absent(place) from None
        said = f"{place}: {_reason(text)}"
        if "(os error 28)" in text or "status code: 507" in text:
            raise OutOfSpace(said) from None
        if "kind: Connect," in text:  # the request never left
            raise StoreUnavailable(said) from None
        raise unclear(said) from None


def _refused(place: str, reason: str) -> StoreUnavailable:
    error = StoreUnavailable(f"{place}: {reason}")
    error.retryable = False
    return error


_STATUS = re.compile(r"status code: (\d{3}[\w ]*)")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_SYSTEM = re.compile(r'message: "([\w ]{1,60})"')
_KIND = re.compile(r"kind: (\w{1,30}),")


def _reason(text: str) -> str:
    """What may be told of an error of obstore's: words of its own, never what it quotes."""
    found = [match[1] for pattern in (_STATUS, _CODE, _SYSTEM) if (match := pattern.search(text))]
    if not found:
        found = [match[1] for match in [_KIND.search(text)] if match]
    return ", ".join(found) or "no answer that can be understood"
