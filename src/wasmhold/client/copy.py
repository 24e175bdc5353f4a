"""The one verb: copy content from any place to any other, byte for byte.

First it is found out what has to move (`plan.py`), then that is followed: blobs side by side,
manifests after all that they point at, tags last.  So whoever reads the destination sees whole
content or none, and what was interrupted goes on where it stopped when it is copied again.

Only blobs move in threads or tasks of their own; the plan and its order stay in one coroutine.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..oci.descriptor import Descriptor
from ..oci.digest import Digest
from ..oci.errors import Cancelled, DigestMismatch, SizeInvalid, WasmholdError
from ..ports.repository import Repository
from ..ports.runtime import ClientRuntime
from .events import (
    Event,
    Failed,
    Finished,
    Listener,
    Mounted,
    Planned,
    Side,
    Skipped,
    Started,
    nobody,
)
from .failure import CopyFailed, blamed
from .plan import Options, Plan, Planner
from .reader import Reader, anew_if_damaged


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy did.  `moved` are bytes of blobs that were read and written."""

    roots: tuple[Descriptor, ...]
    blobs: int
    mounted: int
    manifests: int
    there: int
    moved: int


class Copier:
    """Plans and follows; one for each copy."""

    def __init__(
        self,
        source: Repository,
        destination: Repository,
        runtime: ClientRuntime,
        options: Options | None = None,
        listener: Listener = nobody,
    ) -> None:
        self._source, self._destination = source, destination
        self._runtime = runtime
        self._options = options or Options()
        self._planner = Planner(source, destination, runtime, self._options)
        self._listener = listener
        self._telling = threading.Lock()
        self._error: BaseException | None = None  # the first one; it stops the others

    async def plan(self, reference: str | Digest, tags: Iterable[str] = ()) -> Plan:
        """What is to be done so that the destination has `reference`, with these tags.

        Raises CopyFailed; Cancelled.
        """
        return await self._planner.plan({reference: tags})

    async def plan_all(self) -> Plan:
        """The same for every tag of the source, under its own name."""
        return await self._planner.plan_all()

    async def follow(self, plan: Plan) -> Copied:
        """Do it.  Raises CopyFailed; Cancelled; what the listener raises.

        Then what had come whole is in the destination, no tag has moved to what is not whole, and
        a second copy goes on from there.
        """
        self._error = None
        for descriptor in (*plan.blobs, *plan.manifests):
            self._tell(Planned(Side.DESTINATION, descriptor))
        for descriptor in plan.there:
            self._tell(Skipped(Side.DESTINATION, descriptor, "is there"))
        for descriptor in plan.left_out:
            self._tell(Skipped(Side.SOURCE, descriptor, "is not to be distributed"))
        try:
            moved = await self._runtime.map(self._move, plan.blobs, self._options.concurrency)
        except Cancelled:
            # One that was stopped may have come to its end before the one that stopped it.
            raise self._error or Cancelled() from None
        await self._put_manifests(plan)
        with blamed(Side.DESTINATION, self._destination.place, "writing what was copied"):
            await self._destination.flush()
        return Copied(
            plan.roots,
            blobs=len(plan.blobs),
            mounted=sum(size is None for size in moved),
            manifests=len(plan.manifests),
            there=len(plan.there),
            moved=sum(size or 0 for size in moved),
        )

    def _tell(self, event: Event) -> None:
        with self._telling:
            self._listener(event)

    # ---- blobs

    async def _move(self, descriptor: Descriptor) -> int | None:
        """The bytes that were moved, None when it was mounted."""
        source, destination, digest = self._source, self._destination, descriptor.digest
        self._tell(Started(Side.DESTINATION, descriptor))
        reader = Reader(
            source, descriptor, self._runtime, self._tell, lambda: self._error is not None
        )
        try:
            with blamed(Side.DESTINATION, destination.place, f"mounting blob {digest}"):
                if await destination.blob_mount(digest, source):
                    self._tell(Mounted(Side.DESTINATION, descriptor))
                    return None
            try:
                await anew_if_damaged(source, lambda: destination.blob_put(descriptor, reader))
            except WasmholdError as error:
                raise self._blame(reader, error) from error
        except BaseException as error:
            self._error = self._error or error  # the others end at their next chunk
            if isinstance(error, CopyFailed):
                self._tell(Failed(error.side, descriptor, error.cause, again=False))
            raise
        self._tell(Finished(Side.DESTINATION, descriptor))
        return descriptor.size

    def _blame(self, reader: Reader, error: WasmholdError) -> WasmholdError:
        """Whose fault it was: what came from the source is not the destination's."""
        if isinstance(error, Cancelled):
            return error
        digest = reader.descriptor.digest
        if reader.failed is not None or isinstance(error, DigestMismatch | SizeInvalid):
            cause = reader.failed or error
            return CopyFailed(Side.SOURCE, self._source.place, f"reading blob {digest}", cause)
        step = f"writing blob {digest}"
        return CopyFailed(Side.DESTINATION, self._destination.place, step, error)

    # ---- manifests and tags

    async def _put_manifests(self, plan: Plan) -> None:
        """Tags come last; a manifest that nothing else needs before comes with its tags."""
        for descriptor in plan.manifests:
            if descriptor.digest not in plan.tags or descriptor.digest in plan.needed:
                await self._put(descriptor, ())
        for root in plan.roots:
            if root.digest in plan.tags:
                await self._put(root, plan.tags[root.digest])

    async def _put(self, descriptor: Descriptor, tags: Sequence[str]) -> None:
        if self._runtime.cancelled():
            raise Cancelled
        self._tell(Started(Side.DESTINATION, descriptor))
        digest, destination = descriptor.digest, self._destination
        try:
            with blamed(Side.SOURCE, self._source.place, f"reading {digest}"):
                stored = await self._planner.manifest(descriptor)
            with blamed(Side.DESTINATION, destination.place, writing(digest)):
                await destination.manifest_put(stored, tags)
        except CopyFailed as error:
            self._tell(Failed(error.side, descriptor, error.cause, again=False))
            raise
        self._tell(Finished(Side.DESTINATION, descriptor, tuple(tags)))


def writing(manifest: Digest) -> str:
    """The step of a CopyFailed at which a manifest is put."""
    return f"writing {manifest}"


async def copy(
    source: Repository,
    reference: str | Digest,
    destination: Repository,
    tags: Iterable[str] = (),
    *,
    runtime: ClientRuntime,
    options: Options | None = None,
    listener: Listener = nobody,
) -> Copied:
    """Copy what a tag or digest of `source` names, and point `tags` of `destination` at it.

    Raises CopyFailed, which says the side and the step; Cancelled.
    """
    copier = Copier(source, destination, runtime, options, listener)
    return await copier.follow(await copier.plan(reference, tags))


async def copy_all(
    source: Repository,
    destination: Repository,
    *,
    runtime: ClientRuntime,
    options: Options | None = None,
    listener: Listener = nobody,
) -> Copied:
    """Copy every tag of `source`, each under its own name.  Raises as `copy` does."""
    copier = Copier(source, destination, runtime, options, listener)
    return await copier.follow(await copier.plan_all())
