"""A repository in a registry.  Source: distribution-spec; what peers do differently is met here."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from copy import copy
from typing import Final, TypeAlias

from ...oci import media_types
from ...oci.descriptor import Descriptor
from ...oci.digest import DEFAULT_ALGORITHM, Digest
from ...oci.document import parse_object
from ...oci.errors import (
    AuthFailed,
    CannotList,
    DigestInvalid,
    DigestMismatch,
    Fault,
    ManifestInvalid,
    ManifestUnknown,
    NameUnknown,
    Unsupported,
    UnsupportedManifest,
)
from ...oci.manifest import parse_manifest
from ...ports.body import Body
from ...ports.repository import BlobSource, Repository
from ...ports.store import StoredManifest
from ...protocol import operations as op
from ...protocol import results as res
from ...protocol.conditions import ANY, UNCONDITIONAL, Precondition
from ...protocol.errors import RemoteError
from ...protocol.messages import field
from ...protocol.read_response import ResponseInvalid, next_page
from ..credentials import Credentials
from ..downloads import blob_start, open_blob
from ..network import Network, OnRetry
from ..scopes import to_delete, to_mount, to_pull, to_push
from ..session import Reply, Session
from ..uploads import blob_size, give_up, put_blob
from ..verify import checked

# Three of five registries answer 404 to a manifest whose type was not named.
ACCEPT: Final = (
    media_types.IMAGE_MANIFEST,
    media_types.IMAGE_INDEX,
    media_types.DOCKER_MANIFEST,
    media_types.DOCKER_LIST,
)
_SCHEMA_1: Final = frozenset(
    f"application/vnd.docker.distribution.manifest.v1+{kind}" for kind in ("json", "prettyjws")
)
_PAGE: Final = 1000  # tags that are asked for at once
_MAX_PAGES: Final = 10_000  # of one list: a registry that links in a circle comes to an end
_TRIES: Final = 5  # to put an entry into a fallback tag that others change at the same time
_NO_API: Final = (404, 405)  # olareg without its API of referrers knows the path, not the method
_NO_TAG_CHARACTER: Final = re.compile(r"[^A-Za-z0-9_.-]")

_Entries: TypeAlias = list[object]


def fallback_tag(subject: Digest) -> str:
    """The tag that lists referrers where a registry has no API for them (DS-124)."""
    text = f"{subject.algorithm[:32]}-{subject.encoded[:64]}"
    return _NO_TAG_CHARACTER.sub("-", text)


class RemoteRepository:
    """`ports.repository.Repository` over the Distribution API.

    `to_write`: it will be written to, so tokens are asked for that from the start.  A repository
    that does not exist yet may only be asked about by who may push to it.
    """

    def __init__(
        self,
        network: Network,
        host: str,
        name: str,
        credentials: Credentials | None = None,
        *,
        to_write: bool = False,
    ) -> None:
        self.place = f"{host}/{name}"
        self.host, self.name, self.credentials = host, name, credentials
        self._session = Session(network, host, name, credentials)
        self._reading = to_push(name) if to_write else to_pull(name)
        self._tags: list[str] = []

    def heard_by(self, on_retry: OnRetry) -> RemoteRepository:
        """The same repository with the same login, whose retries `on_retry` hears of."""
        other = copy(self)
        other._session = self._session.heard_by(on_retry)
        return other

    # ---- blobs

    async def blob_size(self, digest: Digest) -> int | None:
        return await blob_size(self._session, self.name, digest, self._reading)

    async def blob_open(self, digest: Digest, start: int = 0) -> Body:
        return await open_blob(self._session, self.name, digest, start, self._reading)

    async def blob_start(self, digest: Digest, size: int) -> bytes:
        """The first `size` bytes of a blob, not verified.  Raises BlobUnknown."""
        return await blob_start(self._session, self.name, digest, size, self._reading)

    async def blob_put(self, descriptor: Descriptor, source: BlobSource) -> None:
        await put_blob(self._session, self.name, descriptor, source)

    async def blob_mount(self, digest: Digest, source: Repository) -> bool:
        if not isinstance(source, RemoteRepository) or source.host != self.host:
            return False
        scopes = to_mount(self.name, source.name)
        try:
            reply = await self._session.ask(op.MountBlob(self.name, digest, source.name), scopes)
        except (RemoteError, AuthFailed) as error:
            if error.retryable:
                raise
            return False
        if isinstance(reply.result, res.UploadStarted):
            await give_up(self._session, self.name, reply.location(reply.result.at))
            return False
        return True

    # ---- manifests

    async def resolve(self, reference: str | Digest) -> Descriptor | None:
        operation = op.GetManifest(self.name, reference, with_body=False, accept=ACCEPT)
        try:
            reply = await self._session.ask(operation, self._reading)
            found = reply.result
            assert isinstance(found, res.ManifestFound)
            if found.media_type:
                _same(reference, found.digest)
                return Descriptor(found.media_type, found.digest, found.size)
        except RemoteError as error:
            if error.answer_status == 404:
                return None
            if error.answer_status != 405:
                raise
        except ResponseInvalid:
            pass  # HEAD says too little: the whole says it
        try:
            stored = await self.manifest_get(reference)
        except ManifestUnknown:
            return None
        return stored.descriptor

    async def manifest_get(self, reference: str | Digest) -> StoredManifest:
        stored, _ = await self._get(reference)
        return stored

    async def _get(self, reference: str | Digest) -> tuple[StoredManifest, Reply]:
        operation = op.GetManifest(self.name, reference, accept=ACCEPT)
        try:
            reply = await self._session.ask(operation, self._reading)
        except RemoteError as error:
            if error.answer_status == 404:
                raise ManifestUnknown(self.place, str(reference)) from error
            raise
        found = reply.result
        assert isinstance(found, res.ManifestFound)
        assert found.content is not None
        if found.media_type in _SCHEMA_1:  # its digest is not that of its bytes
            raise UnsupportedManifest(str(reference), found.media_type)
        _same(reference, found.digest)
        actual = Digest.of(found.content, found.digest.algorithm)
        if actual != found.digest:
            raise DigestMismatch(str(found.digest), str(actual))
        stated = parse_object(found.content).get("mediaType")
        media_type = found.media_type or str(stated or "")
        if stated is not None and stated != media_type:
            raise ManifestInvalid(
                Fault("mediaType", f"is {stated!r}, the registry says {media_type!r}")
            )
        return StoredManifest(found.digest, media_type, found.content), reply

    async def manifest_put(self, stored: StoredManifest, tags: Sequence[str] = ()) -> None:
        manifest = checked(stored)
        # By digest, so that what was damaged on its way is refused before any tag moves.
        found = await self._put_by_digest(stored, tags)
        for tag in tags:
            if tag not in found.tags:
                await self._put_by_tag(stored, tag)
        if manifest.subject is not None and found.subject is None:
            entry = manifest.descriptor(stored.digest, len(stored.content)).to_json()
            await self._change_fallback(manifest.subject.digest, lambda them: _with(them, entry))

    async def _put_by_digest(
        self, stored: StoredManifest, tags: Sequence[str]
    ) -> res.ManifestStored:
        try:
            found = await self._put(stored, stored.digest, tags)
        except RemoteError as error:
            if "DIGEST_INVALID" not in error.codes:
                raise
            found = await self._put_once_more(stored, tags)
        _same(stored.digest, found.digest)
        return found

    async def _put_once_more(
        self, stored: StoredManifest, tags: Sequence[str]
    ) -> res.ManifestStored:
        """Another digest came out: it was damaged on its way, or is always hashed with sha256."""
        try:
            return await self._put(stored, stored.digest, tags)
        except RemoteError as error:
            algorithm = stored.digest.algorithm
            if algorithm != DEFAULT_ALGORITHM and "DIGEST_INVALID" in error.codes:
                raise Unsupported(f"{self.host} keeps no manifests by {algorithm}") from error
            raise

    async def _put_by_tag(self, stored: StoredManifest, tag: str) -> None:
        """For registries that set no tags with a push by digest (DS-131)."""
        try:
            found = await self._put(stored, tag)
        except ResponseInvalid:
            return  # it does not say what it has stored
        _same(stored.digest, found.digest)

    async def _put(
        self,
        stored: StoredManifest,
        reference: str | Digest,
        tags: Sequence[str] = (),
        condition: Precondition = UNCONDITIONAL,
    ) -> res.ManifestStored:
        reply = await self._session.ask(
            op.PutManifest(
                self.name, reference, stored.media_type, tuple(tags), condition=condition
            ),
            to_push(self.name),
            lambda: [stored.content],
            fields=[(b"content-length", b"%d" % len(stored.content))],
        )
        assert isinstance(reply.result, res.ManifestStored)
        return reply.result

    async def manifest_delete(self, digest: Digest) -> None:
        stored = await self.manifest_get(digest)
        subject = _subject(stored)
        await self._delete(digest)
        if subject is not None and await self._listed(subject) is None:
            gone = str(digest)
            await self._change_fallback(subject, lambda them: _without(them, gone))

    async def _delete(self, reference: str | Digest) -> None:
        try:
            await self._session.ask(op.DeleteManifest(self.name, reference), to_delete(self.name))
        except RemoteError as error:
            if error.answer_status == 404:
                raise ManifestUnknown(self.place, str(reference)) from error
            if error.answer_status == 405 or "UNSUPPORTED" in error.codes:
                raise Unsupported(f"{self.host} deletes nothing: {error}") from error
            raise

    # ---- referrers

    async def referrers(
        self, subject: Digest, artifact_type: str | None = None
    ) -> list[Descriptor]:
        try:
            found = await self._listed(subject, artifact_type)
            if found is None:
                found = await self._in_fallback(subject)
        except (RemoteError, ResponseInvalid, ManifestInvalid, DigestInvalid) as error:
            raise CannotList(f"{self.place}: no list of referrers: {error}") from error
        wanted = [d for d in found if artifact_type in (None, d.artifact_type)]
        return sorted(wanted, key=lambda d: d.digest)

    async def _listed(
        self, subject: Digest, artifact_type: str | None = None
    ) -> list[Descriptor] | None:
        """What the API says, over all pages; None where there is no such API."""
        operation = op.ListReferrers(self.name, subject, artifact_type)
        found: list[Descriptor] = []
        try:
            async for reply in self._pages(operation):
                assert isinstance(reply.result, res.ReferrersPage)
                found += reply.result.manifests
        except RemoteError as error:
            if error.answer_status in _NO_API and not found:
                return None
            raise
        return found

    async def _in_fallback(self, subject: Digest) -> list[Descriptor]:
        """A missing tag, or one that is no index, lists nothing (DS-126)."""
        try:
            stored = await self.manifest_get(fallback_tag(subject))
            return list(parse_manifest(stored.content, stored.media_type).manifests)
        except ManifestUnknown:
            return []

    async def _change_fallback(
        self, subject: Digest, change: Callable[[_Entries], _Entries | None]
    ) -> None:
        """Apply `change` to what the fallback tag lists, until it has nothing left to do (DS-125).

        Raises ManifestInvalid where the tag is something else.
        """
        tag = fallback_tag(subject)
        for _ in range(_TRIES):
            condition = UNCONDITIONAL
            document: dict[str, object] = {"schemaVersion": 2, "mediaType": media_types.IMAGE_INDEX}
            try:
                stored, reply = await self._get(tag)
            except ManifestUnknown:
                condition = Precondition(none_match=ANY)
            else:
                if stored.media_type != media_types.IMAGE_INDEX:
                    fault = Fault("mediaType", f"the tag {tag} is no index: referrers stand there")
                    raise ManifestInvalid(fault)
                document = parse_object(stored.content)
                entity_tag = field(reply.fields, b"etag")
                if entity_tag is not None:
                    condition = Precondition(match=(entity_tag,))
            changed = change(_entries(document))
            if changed is None:
                return
            content = json.dumps({**document, "manifests": changed}).encode()
            index = StoredManifest(Digest.of(content), media_types.IMAGE_INDEX, content)
            try:
                await self._put(index, tag, condition=condition)
            except RemoteError as error:
                if error.answer_status != 412:
                    raise
            # Once more: where the registry knows no conditions, somebody else may have been faster.
        raise CannotList(f"{self.place}: others keep changing the tag {tag}: try again")

    async def _pages(self, operation: op.ListTags | op.ListReferrers) -> AsyncIterator[Reply]:
        """All pages; each link is asked as it came."""
        page: str | None = None
        for _ in range(_MAX_PAGES):
            reply = await self._session.ask(operation, self._reading, page=page)
            yield reply
            link = next_page(reply.fields)
            if link is None:
                return
            page = reply.resolve(link)
        raise ResponseInvalid(f"a list of {self.place} has more than {_MAX_PAGES} pages")

    # ---- tags

    async def tags(self, after: str = "", limit: int = 1000) -> list[str]:
        # Registries differ in order, in `last`, and in `n`: all pages, then our own order.
        if after == "" or not self._tags:
            self._tags = sorted(await self._all_tags())
        first = bisect_right(self._tags, after)
        return self._tags[first : first + limit]

    async def _all_tags(self) -> set[str]:
        found: set[str] = set()
        try:
            async for reply in self._pages(op.ListTags(self.name, _PAGE)):
                assert isinstance(reply.result, res.TagsPage)
                found.update(reply.result.tags)
        except RemoteError as error:
            if error.answer_status != 404:
                raise
            # Behind the first page it says that a tag on it has gone since (zot).
            if not found:
                raise NameUnknown(self.place) from error
        return found

    async def tag_delete(self, tag: str) -> None:
        await self._delete(tag)

    async def flush(self) -> None:
        return

    async def aclose(self) -> None:
        return


def _same(reference: str | Digest, found: Digest) -> None:
    if isinstance(reference, Digest) and reference != found:
        raise DigestMismatch(str(reference), str(found))


def _subject(stored: StoredManifest) -> Digest | None:
    try:
        subject = parse_manifest(stored.content, stored.media_type).subject
    except ManifestInvalid:
        return None
    return None if subject is None else subject.digest


def _entries(document: Mapping[str, object]) -> _Entries:
    entries = document.get("manifests") or []
    if not isinstance(entries, list):
        raise ManifestInvalid(Fault("manifests", "want a list of descriptors"))
    return entries


def _with(entries: _Entries, entry: Mapping[str, object]) -> _Entries | None:
    """None where it is there already."""
    digest = entry["digest"]
    if any(isinstance(e, dict) and e.get("digest") == digest for e in entries):
        return None
    return [*entries, entry]


def _without(entries: _Entries, digest: str) -> _Entries | None:
    rest = [e for e in entries if not (isinstance(e, dict) and e.get("digest") == digest)]
    return rest if len(rest) < len(entries) else None
