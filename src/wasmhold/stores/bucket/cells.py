"""Cells: small objects with a state, written only by create-if-absent and replace-if-match.

The body of a cell is

    <nonce> SP <length> SP <payload> LF <content> <padding>

`payload` is one line of text, whose form is the business of the noun; `content` is `length` bytes,
exactly (a manifest; empty in all other cells); as many spaces follow as make **the length of the
body modulo 8 the state**.  So a listing, which shows sizes, shows the states without a GET: tags
that are gone are left out of a list, and the collector reads nothing but what it may remove.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from enum import IntEnum
from typing import Final, NamedTuple, TypeVar

from ...oci.errors import StoreUnavailable
from ...ports.runtime import Randomness, Runtime
from .port import Ambiguous, Bucket, Conflict, Entry, Unsupported

R = TypeVar("R")

_TURNS: Final = 100  # a writer that lost this often against others is told to come again
_SIDE_BY_SIDE: Final = 32  # requests of one operation that are under way together
_NONCE: Final = 12  # random bytes; 96 bits never come twice in the life of a store


class State(IntEnum):
    """The order is part of the format."""

    GONE = 0  # deleted, or a stub: never was
    PENDING = 1  # visible as a reference, absent for readers
    LIVE = 2
    DOOMED = 3  # live for readers; killed unless somebody rescues it
    DEAD = 4  # a blob whose data is being removed
    OPEN = 5  # sessions only, as are the rest
    COMMITTING = 6
    CLOSING = 7


GONE, PENDING, LIVE, DOOMED, DEAD, OPEN, COMMITTING, CLOSING = State
THERE: Final = (LIVE, DOOMED)  # for readers: a doomed thing is there until it is gone
_STATES: Final = tuple(State)


class Cell(NamedTuple):
    """A cell as it was read or written.  `etag` is None when there is no object."""

    state: State
    payload: str
    etag: str | None
    nonce: str = ""
    content: bytes = b""

    @property
    def there(self) -> bool:
        return self.state in THERE


NOTHING: Final = Cell(GONE, "", None)


def pack(state: State, nonce: str, payload: str, content: bytes = b"") -> bytes:
    head = f"{nonce} {len(content)} {payload}\n".encode()
    padding = b" " * ((state - len(head) - len(content)) % 8)
    return b"%b%b%b" % (head, content, padding)


def unpack(body: bytes, etag: str) -> Cell:
    end = body.index(b"\n")
    nonce, length, payload = body[:end].decode().split(" ", 2)
    content = body[end + 1 : end + 1 + int(length)] if length != "0" else b""
    return Cell(_STATES[len(body) % 8], payload, etag, nonce, content)


def payload_of(body: bytes) -> str:
    """`Cell.payload` without the rest: for the read of a tag, which every pull begins with."""
    return body[: body.index(b"\n")].decode().split(" ", 2)[2]


def state_of(entry: Entry) -> State:
    return _STATES[entry.size % 8]


def turns() -> Iterator[int]:
    """The turns of a loop that begins anew when somebody else was faster.

    Raises StoreUnavailable when there were too many: the caller may ask again.  So nothing that
    stands behind such a loop is reached, as the AssertionError there tells the type checker.
    """
    yield from range(_TURNS)
    raise StoreUnavailable("too many others write to the same place: come again")


class Cells:
    """Reading and writing of cells, and the few steps that every noun is made of."""

    def __init__(self, bucket: Bucket, runtime: Runtime, randomness: Randomness) -> None:
        self.bucket = bucket
        self.runtime = runtime
        self._randomness = randomness

    def nonce(self) -> str:
        return self._randomness.token(_NONCE).hex()

    async def read(self, key: str) -> Cell:
        got = await self.bucket.get(key)
        return NOTHING if got is None else unpack(*got)

    async def write(
        self, key: str, old: Cell, state: State, payload: str = "", content: bytes = b""
    ) -> Cell | None:
        """Put a new cell where `old` was read; None: it is not there any more, decide anew."""
        # The nonce is new for each attempt, so the ETag is too: a replace that was sent for an
        # older body, and comes late, hits nothing.
        nonce = self.nonce()
        body = pack(state, nonce, payload, content)
        try:
            if old.etag is None:
                etag = await self.bucket.create(key, body)
            else:
                etag = await self.bucket.replace(key, body, old.etag)
        except Conflict:
            return None
        except Ambiguous:
            # Only what is there now counts.  It may be neither: then the request is still under
            # way, and whoever changes the cell first makes the other one fail.
            now = await self.read(key)
            return now if now.etag is not None and now.nonce == nonce else None
        return Cell(state, payload, etag, nonce, content)

    async def rewrite(self, key: str, old: Cell, state: State) -> Cell | None:
        """`write` with what the cell holds already."""
        return await self.write(key, old, state, old.payload, old.content)

    async def set_live(self, key: str) -> Cell | None:
        """The cell as it is when it is live; a doomed one is rescued.  None: it is not there."""
        for _ in turns():
            cell = await self.read(key)
            if cell.state == LIVE:
                return cell
            if cell.state != DOOMED:
                return None
            rescued = await self.rewrite(key, cell, LIVE)
            if rescued is not None:
                return rescued
        raise AssertionError

    async def first(self, key: str, state: State) -> Cell:
        """The cell that is there; where there is none, one of this state is created."""
        for _ in turns():
            cell = await self.write(key, NOTHING, state) or await self.read(key)
            # Absent after a conflict: a collector forgot it in between.  It must not be taken for
            # a name that was never used, since the create that we sent may still arrive.
            if cell.etag is not None:
                return cell
        raise AssertionError

    async def at_once(
        self, key: str, state: State, payload: str = "", content: bytes = b""
    ) -> Cell:
        """As `first`, but in the time of one request whether the cell is there or not."""
        for _ in turns():
            created, found = await self.side_by_side(
                [lambda: self.write(key, NOTHING, state, payload, content), lambda: self.read(key)]
            )
            if created is not None:
                return created
            if found is not None and found.etag is not None:
                return found
        raise AssertionError

    async def mark(self, key: str) -> Cell:
        """Make a mark live, with a new nonce even if it is live: who has read it begins anew."""
        old = NOTHING
        for _ in turns():
            marked = await self.write(key, old, LIVE)
            if marked is not None:
                return marked
            old = await self.read(key)
        raise AssertionError

    async def forget(self, key: str, etag: str) -> bool:
        """Remove a cell that is gone; where the bucket cannot, its few bytes stay."""
        try:
            await self.bucket.remove(key, etag)
        except (Conflict, Ambiguous, Unsupported):
            return False
        return True

    async def side_by_side(self, jobs: Sequence[Callable[[], Awaitable[R]]]) -> list[R]:
        return await self.runtime.map(_call, jobs, _SIDE_BY_SIDE)

    async def pages(self, prefix: str) -> AsyncGenerator[list[Entry], None]:
        """All objects below `prefix`, in key order, a page at a time; not one snapshot."""
        after, more = "", True
        while more:
            page, more = await self.bucket.list(prefix, after)
            if page:
                yield page
                after = page[-1].key
                await self.runtime.sleep(0)  # a bucket that never waits must not stop its server

    async def listed(self, prefix: str) -> list[Entry]:
        """All objects below `prefix`, where they are known to be few."""
        return [entry async for page in self.pages(prefix) for entry in page]


async def _call(job: Callable[[], Awaitable[R]]) -> R:
    return await job()
