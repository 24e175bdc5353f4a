"""Upload sessions: bytes that have no digest yet, and how they become a blob.

A session is OPEN while bytes come; COMMITTING when all are there and hash to the digest that the
client gave, and never before; LIVE when a blob uses its bytes, which it then owns; CLOSING while
they are removed; GONE at the end.  Bytes travel once: they stay where they were staged, and the
blob points to them.
"""

from __future__ import annotations

from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from typing import Final, Self

from ...oci.digest import Digest, Hasher
from ...oci.digest import hasher as new_hasher
from ...oci.errors import (
    ContentDamaged,
    DigestMismatch,
    OutOfSpace,
    RangeInvalid,
    StoreUnavailable,
    UploadUnknown,
)
from ...ports.body import Body
from ...ports.runtime import Randomness
from ..memo import Memo
from ..sessions import new_id
from . import keys
from .cells import (
    CLOSING,
    COMMITTING,
    DEAD,
    DOOMED,
    GONE,
    LIVE,
    NOTHING,
    OPEN,
    PENDING,
    Cell,
    Cells,
    turns,
)
from .content import Content, Part, read_parts, size_of, upload_of, write_parts
from .staging import Staging

_HASHES: Final = 1024  # sessions whose running hash is kept


@dataclass(frozen=True, slots=True)
class Session:
    """The payload: ``<repository> <algorithm> <digest or ->{ <part> <size>}``."""

    repository: str
    algorithm: str  # what the bytes are hashed with while they come
    parts: tuple[Part, ...] = ()
    digest: str | None = None  # what it was committed as

    @classmethod
    def parse(cls, payload: str) -> Self:
        repository, algorithm, digest, *words = payload.split(" ")
        return cls(repository, algorithm, read_parts(words), None if digest == "-" else digest)

    def __str__(self) -> str:
        return f"{self.repository} {self.algorithm} {self.digest or '-'}{write_parts(self.parts)}"

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)


@dataclass(frozen=True, slots=True)
class _Hashed:
    """The hash of exactly these parts."""

    parts: tuple[Part, ...]
    algorithm: str
    hasher: Hasher


@dataclass(frozen=True, slots=True)
class _Last:
    """The body of a final PUT, staged behind `before`, and the digest of it all."""

    before: tuple[Part, ...]
    parts: tuple[Part, ...]
    digest: Digest


class BucketUploads:
    """`ports.store.Uploads`, and what the collector does with sessions."""

    def __init__(self, cells: Cells, randomness: Randomness) -> None:
        self._cells = cells
        self._randomness = randomness
        self.staging = Staging(cells)
        self._hashes: Memo[str, _Hashed] = Memo(_HASHES)

    # ---- what clients ask

    async def open(self, name: str, algorithm: str) -> str:
        payload = str(Session(name, algorithm))
        for _ in turns():
            session = new_id(self._randomness)
            if await self._cells.write(keys.upload(session), NOTHING, OPEN, payload):
                return session
        raise AssertionError

    async def status(self, name: str, session: str) -> int:
        _, found = await self._open_session(name, session)
        return found.size

    async def append(self, name: str, session: str, offset: int | None, body: Body) -> int:
        async with aclosing(body):
            cell, before = await self._open_session(name, session)
            _check_offset(before, offset)
            hasher = self._hasher(session, before, before.algorithm)
            parts = await self.staging.stage(session, body, hasher)
        if not parts:
            return before.size
        after = replace(before, parts=before.parts + parts)
        for _ in turns():
            if await self._cells.write(keys.upload(session), cell, OPEN, str(after)):
                if hasher is not None:
                    self._hashes.put(session, _Hashed(after.parts, after.algorithm, hasher))
                return after.size
            now = await self._cells.read(keys.upload(session))
            if now.etag != cell.etag:
                return await self._lost(name, session, now, before, parts)
            # The answer was lost and the session is as it was: what we sent may still arrive, so
            # the parts must stay, and the same is sent again.
        raise AssertionError

    async def _lost(
        self, name: str, session: str, now: Cell, before: Session, parts: tuple[Part, ...]
    ) -> int:
        """The session is another than the one we read: with our parts, or because of others."""
        if now.state != OPEN:
            raise UploadUnknown(name, session)
        found = Session.parse(now.payload)
        end = len(before.parts) + len(parts)
        if found.parts[:end] == before.parts + parts:
            return before.size + sum(part.size for part in parts)
        # No write that names our parts can succeed any more: its ETag has passed.
        await self.staging.unstage(session, parts)
        raise RangeInvalid(found.size, before.size)

    async def commit(
        self, name: str, session: str, offset: int | None, body: Body, digest: Digest
    ) -> int:
        async with aclosing(body):
            return await self._commit(name, session, offset, body, digest)

    async def _commit(
        self, name: str, upload: str, offset: int | None, body: Body, digest: Digest
    ) -> int:
        link_key, blob_key = keys.link(name, digest), keys.blob(digest)
        key = keys.upload(upload)
        cells = self._cells
        last: _Last | None = None
        for _ in turns():
            # The blob's ETag is known before the session is seen committing: see `discard`.
            blob, cell, link = await cells.side_by_side(
                [
                    lambda: cells.first(blob_key, GONE),
                    lambda: cells.read(key),
                    lambda: cells.first(link_key, PENDING),
                ]
            )
            if cell.state != OPEN:
                cell = await cells.read(key)  # as it is now that the blob's ETag is known
            session = _belongs(cell, name, upload)
            if cell.state == OPEN:
                last = await self._finish(upload, session, offset, body, digest, last)
                session = replace(session, parts=last.before + last.parts, digest=str(digest))
                committing = await cells.write(key, cell, COMMITTING, str(session))
                if committing is None:
                    continue
                cell = committing
            if session.digest != str(digest):
                raise UploadUnknown(name, upload)
            # Committed before: by another replica, or the client did not hear our answer.
            if cell.state in (CLOSING, GONE) and not link.there:
                raise UploadUnknown(name, upload)
            if link.state == LIVE:
                await self._settle_quietly(upload)
                return size_of(link.payload)
            if link.state == DOOMED:
                if await cells.rewrite(link_key, link, LIVE):
                    await self._settle_quietly(upload)
                    return size_of(link.payload)
                continue
            if link.state == GONE:
                pending = await cells.write(link_key, link, PENDING)
                if pending is None:
                    continue
                link = pending
            # The link is visible as a reference.  Now its target, as it is after that.
            content = await self._blob(upload, session, blob_key, blob)
            if content is not None and await self._make_live(link_key, link, content, upload, cell):
                return size_of(content)
        raise AssertionError

    async def _blob(self, upload: str, session: Session, key: str, blob: Cell) -> str | None:
        """The payload of the live blob, which may be an older one; None: begin anew.

        A blob that is there already keeps its bytes: they were verified when they came, and
        neither memory nor an object store changes them after that.  The new ones were verified
        too, and go with their session.
        """
        live: Cell | None = None
        if blob.there:
            live = await self._cells.set_live(key)
        elif blob.state == DEAD:
            await self.bury(key, blob)
        else:
            live = await self._cells.write(key, blob, LIVE, str(Content(upload, session.parts)))
        return None if live is None else live.payload

    async def _make_live(
        self, key: str, link: Cell, content: str, upload: str, session: Cell
    ) -> bool:
        """The last step of a commit, and what becomes of the session."""

        async def own() -> None:
            if session.state == COMMITTING and upload_of(content) == upload:
                with suppress(StoreUnavailable, OutOfSpace):  # else a collector does it
                    await self._cells.rewrite(keys.upload(upload), session, LIVE)

        link_live, _ = await self._cells.side_by_side(
            [lambda: self._cells.write(key, link, LIVE, content), own]
        )
        if link_live is None:
            return False
        if upload_of(content) != upload:  # only now: a session that is gone cannot be tried again
            await self._settle_quietly(upload)
        return True

    async def _finish(
        self,
        upload: str,
        session: Session,
        offset: int | None,
        body: Body,
        digest: Digest,
        last: _Last | None,
    ) -> _Last:
        """Stage the body of the final PUT, once, and verify everything before it is committed."""
        if last is not None:
            # Staged in an earlier turn, in which somebody else changed the session.
            if session.parts == last.before:
                return last
            await self.staging.unstage(upload, last.parts)
            raise RangeInvalid(session.size, sum(part.size for part in last.before))
        _check_offset(session, offset)
        hasher = self._hasher(upload, session, digest.algorithm)
        parts = await self.staging.stage(upload, body, hasher)
        if hasher is None:  # other processes hashed it, or with another algorithm
            hasher = new_hasher(digest.algorithm)
            await self._read_back(session, Content(upload, session.parts + parts), hasher)
        self._hashes.drop(upload)
        last = _Last(session.parts, parts, Digest(digest.algorithm, hasher.hexdigest()))
        if last.digest != digest:
            await self.staging.unstage(upload, parts)
            cell = await self._cells.read(keys.upload(upload))
            if cell.state == OPEN:  # not when another replica has committed what is right
                await self.discard(upload)
            raise DigestMismatch(str(digest), str(last.digest))
        return last

    async def _read_back(self, session: Session, content: Content, hasher: Hasher) -> None:
        try:
            await self.staging.feed(hasher, content)
        except ContentDamaged:
            # Somebody may have ended the session meanwhile: that comes before its bytes go.
            if (await self._cells.read(keys.upload(content.upload))).state != OPEN:
                raise UploadUnknown(session.repository, content.upload) from None
            raise

    async def cancel(self, name: str, session: str) -> None:
        for _ in turns():
            cell = await self._cells.read(keys.upload(session))
            found = _belongs(cell, name, session)
            # CLOSING without a digest: a cancel that died half way.
            if cell.state != OPEN and (cell.state != CLOSING or found.digest):
                raise UploadUnknown(name, session)
            closing = cell
            if cell.state == OPEN:
                closing = await self._cells.rewrite(keys.upload(session), cell, CLOSING) or NOTHING
            if closing.state == CLOSING:
                await self._empty(session, closing)
                return
        raise AssertionError

    # ---- what becomes of sessions

    async def settle(self, upload: str) -> int:
        """After a commit: the session owns the blob's bytes, or its bytes go; those freed."""
        cell = await self._cells.read(keys.upload(upload))
        if cell.state == COMMITTING:
            blob = await self._cells.read(keys.blob(Session.parse(cell.payload).digest or ""))
            if blob.state in (LIVE, DOOMED, DEAD) and upload_of(blob.payload) == upload:
                await self._cells.rewrite(keys.upload(upload), cell, LIVE)
            else:
                return await self.discard(upload)
        return 0

    async def _settle_quietly(self, upload: str) -> None:
        with suppress(StoreUnavailable, OutOfSpace):  # the commit is done; a collector does it
            await self.settle(upload)

    async def discard(self, upload: str) -> int:
        """Close a session and remove its bytes, unless a blob uses them; the bytes freed."""
        key = keys.upload(upload)
        cell: Cell | None = await self._cells.read(key)
        if cell is not None and cell.state in (OPEN, COMMITTING):
            cell = await self._cells.rewrite(key, cell, CLOSING)
        if cell is None or cell.state != CLOSING:
            return 0
        return await self._empty(upload, cell)

    async def _empty(self, upload: str, cell: Cell) -> int:
        key, digest = keys.upload(upload), Session.parse(cell.payload).digest
        if digest is not None:
            blob_key = keys.blob(digest)
            for _ in turns():
                blob = await self._cells.read(blob_key)
                if blob.state != GONE:
                    if upload_of(blob.payload) == upload:
                        await self._cells.rewrite(key, cell, LIVE)
                        return 0
                    break
                # Who saw the session committing may be about to make the blob out of it.  The
                # blob gets a new ETag here, after the session is seen closing: a committer either
                # read the blob before that, and fails, or reads the session after that.
                if blob.etag is None or await self._cells.write(blob_key, blob, GONE):
                    break
        freed = await self.staging.wipe(upload)
        # What it was committed as stays readable: the client may not have heard the answer.
        committed = "" if digest is None else str(replace(Session.parse(cell.payload), parts=()))
        await self._cells.write(key, cell, GONE, committed)
        return freed

    async def bury(self, key: str, blob: Cell) -> int:
        """A dead blob: its bytes, then their owner, then the name is free; the bytes freed."""
        upload = upload_of(blob.payload)
        freed = await self.staging.wipe(upload)
        for _ in turns():
            owner = await self._cells.read(keys.upload(upload))
            if owner.state == GONE or await self._cells.write(keys.upload(upload), owner, GONE):
                break
        await self._cells.write(key, blob, GONE)
        return freed

    # ---- the rest

    async def _open_session(self, name: str, session: str) -> tuple[Cell, Session]:
        cell = await self._cells.read(keys.upload(session))
        found = _belongs(cell, name, session)
        if cell.state != OPEN:
            raise UploadUnknown(name, session)
        return cell, found

    def _hasher(self, upload: str, session: Session, algorithm: str) -> Hasher | None:
        """The hash of what the session holds, to go on with; None when it is not known here."""
        if not session.parts:
            return new_hasher(algorithm)
        known = self._hashes.get(upload)
        # Compared by parts, not by length: another process may have appended other bytes.
        if known is None or known.parts != session.parts or known.algorithm != algorithm:
            return None
        return known.hasher.copy()  # the original stays, for when this attempt fails


def _belongs(cell: Cell, name: str, upload: str) -> Session:
    """The session, if it is this repository's; a cancelled one says nothing any more."""
    if cell.payload:
        session = Session.parse(cell.payload)
        if session.repository == name:
            return session
    raise UploadUnknown(name, upload)


def _check_offset(session: Session, offset: int | None) -> None:
    if offset is not None and offset != session.size:
        raise RangeInvalid(session.size, offset)
