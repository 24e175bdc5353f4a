"""``index.json`` of a repository: what other tools read of it.  It is derived, never the truth.

An entry for each tag, and one without a name for each manifest that no tag and no index reaches.
The document says by an annotation what its entries hash to: so one that we wrote is known as ours
wherever it comes from, also after a power loss that brought an older one back.

    .wasmhold/dirty/<repository>        the index is behind
    .wasmhold/building/<repository>     the same, and somebody is at it, or died there
    <repository>/.wasmhold/index.lock   held by who writes it
    <repository>/.wasmhold/index.base   the document that we wrote last
    <repository>/.wasmhold/index.state  text: inode, size and time of the file that we wrote or read
    <repository>/.wasmhold/index.kept   what another tool's index led to and could not be taken yet

A writer marks the repository before it changes tags or manifests, while it holds the repository's
lock.  Whoever takes the mark away holds that lock alone, so the changes behind every mark that it
takes are there to be read.

Source: image-spec, "Image Layout"; "Pre-Defined Annotation Keys".
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from ...oci import media_types
from ...oci.descriptor import Descriptor, read_descriptor
from ...oci.digest import Digest
from ...oci.document import parse_object
from ...oci.errors import Fault, ManifestInvalid, OutOfSpace, StoreUnavailable, TagInvalid
from ...oci.layout import REF_NAME, tag_of
from ...oci.manifest import parse_manifest
from ...oci.reference import parse_tag
from . import paths
from .disk import Disk
from .files import Absent, Exists, Files, FilesError, Status
from .paths import RepositoryPaths

ENTRIES_HASH: Final = "org.wasmhold.index"  # the digest of the entries, in a document of ours
CHILD: Final = "org.wasmhold.child"  # in ``index.kept``: no entry of its own, an index led to it

PAUSE_S: Final = 1.0  # between two indexes of one repository
COST_FACTOR: Final = 50  # pause at least so many times what the last one took: 2 % of a core

_LET_PASS: Final = 500  # calls of files, then others have their turn

Tell = Callable[[str], None]  # says one line to the operator


# ---- the document


@dataclass(frozen=True, slots=True)
class Index:
    """An ``index.json`` as it was read.

    `entries` are in its order, with their annotations; `faults` are entries that are none.
    `states` is the hash that the document gives of its entries, None when it gives none; `is_ours`
    when that is true.
    """

    entries: tuple[Descriptor, ...] = ()
    faults: tuple[Fault, ...] = ()
    states: str | None = None
    is_ours: bool = False

    @property
    def tags(self) -> dict[str, Descriptor]:
        """Of entries with one name the last one holds: it was added last."""
        named = ((tag_of(entry), entry) for entry in self.entries)
        return {tag: entry for tag, entry in named if tag is not None}

    @property
    def untagged(self) -> dict[Digest, Descriptor]:
        return {entry.digest: entry for entry in self.entries if tag_of(entry) is None}


def _line(entry: Mapping[str, object]) -> str:
    """An entry in the one way of writing it that is hashed."""
    return json.dumps(entry, sort_keys=True, separators=(",", ":"))


def _entry(descriptor: Descriptor, tag: str | None = None) -> str:
    """`_line` of an entry of ours, ten times as fast: no text in it needs escaping."""
    named = "" if tag is None else f'"annotations":{{"{REF_NAME}":"{tag}"}},'
    digest, media_type, size = descriptor.digest, descriptor.media_type, descriptor.size
    return f'{{{named}"digest":"{digest}","mediaType":"{media_type}","size":{size}}}'


def _hash(lines: Iterable[str]) -> str:
    return str(Digest.of("\n".join(lines).encode()))


def build(
    tags: Mapping[str, Descriptor],
    untagged: Iterable[Descriptor],
    kept: Iterable[Descriptor] = (),
) -> bytes:
    """The document: tags in byte order, then what has none, by digest; a line for each.

    Of `tags` and `untagged` media type, digest and size are written; `kept` are entries of another
    tool that stay as they are.
    """
    lines = [_entry(descriptor, tag) for tag, descriptor in sorted(tags.items())]
    lines += [_entry(d) for d in sorted(untagged, key=lambda d: d.digest)]
    others = sorted(kept, key=lambda d: (d.digest, tag_of(d) or ""))
    lines += [_line(d.to_json()) for d in others]
    manifests = ",\n".join(lines)
    return (
        f'{{"schemaVersion":2,"mediaType":"{media_types.IMAGE_INDEX}","manifests":[\n{manifests}\n],'
        f'"annotations":{{"{ENTRIES_HASH}":"{_hash(lines)}"}}}}\n'
    ).encode()


def parse(content: bytes) -> Index:
    """Read an index that anybody wrote; entries that are none become faults.

    Raises ManifestInvalid for what is no index at all.
    """
    members = parse_object(content)
    manifests = members.get("manifests")
    if manifests is None:
        manifests = []
    if not isinstance(manifests, list):
        raise ManifestInvalid(Fault("manifests", "want a list of descriptors"))
    faults: list[Fault] = []
    found = [read_descriptor(m, f"manifests[{i}]", faults) for i, m in enumerate(manifests)]
    annotations = members.get("annotations")
    states = annotations.get(ENTRIES_HASH) if isinstance(annotations, dict) else None
    return Index(
        tuple(entry for entry in found if entry is not None),
        tuple(faults),
        states if isinstance(states, str) else None,
        states is not None and states == _hash(map(_line, manifests)),
    )


# ---- its files


async def read_kept(files: Files, of: RepositoryPaths) -> list[Descriptor]:
    content = await files.read(of.index_kept)
    try:
        return [] if content is None else [*parse(content).entries]
    except ManifestInvalid:  # a power loss
        return []


def write_state(status: Status) -> str:
    """What tells one file from another, without reading it."""
    return f"{status.inode} {status.size} {status.modified_ns}"


async def replace_file(disk: Disk, path: str, content: bytes) -> None:
    """Write the whole of a derived file, in one step; nothing is synced.  Raises Absent."""
    beside = disk.tmp()
    try:
        await disk.files.create(beside, content)
        await disk.files.rename(beside, path)
    except BaseException:
        await disk.files.unlink(beside)
        raise


async def remember(disk: Disk, of: RepositoryPaths, found: Status, content: bytes) -> None:
    """That the ``index.json`` that is there is known: it is `found`, and holds `content`."""
    # The base first: what we compare with is never older than what the state says.
    await replace_file(disk, of.index_base, content)
    await replace_file(disk, of.index_state, write_state(found).encode())


# ---- what it is derived from


class Deriver:
    """Reads a repository, and says what its index has to be."""

    def __init__(self, disk: Disk) -> None:
        self._files = disk.files
        self._runtime = disk.runtime
        self._calls = 0

    async def derive(self, of: RepositoryPaths) -> bytes:
        # In this order: a manifest is there before a tag points to it.
        kept = await read_kept(self._files, of)
        tags = await self._files.texts(of.tags)
        manifests = await self._files.texts(of.manifests)
        known, pointed = await self._runtime.offload(_read_names, tags, manifests)
        children: set[Digest] = set()
        for digest, media_type in known.items():
            if media_type in media_types.INDEXES:
                children |= await self._children(of, digest, media_type)
        tagged = set(pointed.values())
        described: dict[Digest, Descriptor] = {}
        for digest, media_type in known.items():
            if digest in tagged or digest not in children:
                await self._let_pass()
                status = await self._files.stat(of.blob(digest))
                if status is not None:  # damage: `check` tells it
                    described[digest] = Descriptor(media_type, digest, status.size)
        kept = [entry for entry in kept if entry.digest not in known]
        return await self._runtime.offload(_build, pointed, described, kept)

    async def _children(self, of: RepositoryPaths, digest: Digest, media_type: str) -> set[Digest]:
        await self._let_pass()
        content = await self._files.read(of.blob(digest))
        try:
            manifest = parse_manifest(content or b"", media_type)
        except ManifestInvalid:  # damage: `check` tells it
            return set()
        return {child.digest for child in manifest.manifests}

    async def _let_pass(self) -> None:
        self._calls += 1
        if not self._calls % _LET_PASS:
            await self._runtime.sleep(0)


def _read_names(
    tags: Mapping[str, str], manifests: Mapping[str, str]
) -> tuple[dict[Digest, str], dict[str, Digest]]:
    """Media types by digest, and digests by tag; without what is damaged, or no tag at all."""
    known: dict[Digest, str] = {}
    for file, media_type in manifests.items():
        digest = paths.read_digest(file)
        if digest is not None and media_types.is_media_type(media_type):
            known[digest] = media_type
    pointed: dict[str, Digest] = {}
    for file, text in tags.items():
        digest = paths.read_short(text)
        if digest in known:
            with suppress(TagInvalid):
                pointed[parse_tag(paths.unescape_tag(file))] = digest
    return known, pointed


def _build(
    pointed: Mapping[str, Digest],
    described: Mapping[Digest, Descriptor],
    kept: Iterable[Descriptor],
) -> bytes:
    tagged = set(pointed.values())
    return build(
        {tag: described[digest] for tag, digest in pointed.items() if digest in described},
        [descriptor for digest, descriptor in described.items() if digest not in tagged],
        # Two entries of one name would be a riddle to other tools.
        [e for e in kept if CHILD not in e.annotations and tag_of(e) not in pointed],
    )


# ---- keeping it up to date


class Indexes:
    """Works off the marks of a store.

    `look` takes over what another tool did to the ``index.json`` that is there, before it is
    written anew.
    """

    def __init__(self, disk: Disk, look: Callable[[str], Awaitable[object]], tell: Tell) -> None:
        self._disk = disk
        self._files = disk.files
        self._runtime = disk.runtime
        self._look = look
        self._tell = tell
        self._deriver = Deriver(disk)
        self._due: dict[str, float] = {}  # name to when its index may be written again

    async def marked(self) -> list[str]:
        """Repositories whose index is behind, by name."""
        marks = {*(await self._files.names(paths.DIRTY) or [])}
        marks |= {*(await self._files.names(paths.BUILDING) or [])}
        return sorted(mark.replace("=", "/") for mark in marks)

    async def is_marked(self, name: str) -> bool:
        for mark in (paths.dirty(name), paths.building(name)):
            if await self._files.stat(mark) is not None:
                return True
        return False

    async def work_off(self, *, at_once: bool = False) -> float:
        """Write every index that is behind and due, or `at_once` all; seconds to the next call."""
        now = self._runtime.now()
        self._due = {name: due for name, due in self._due.items() if now < due}
        for name in await self.marked():
            if not at_once and (name in self._due or await self._is_fresh(name, now)):
                continue
            try:
                await self.write(name)
            except (StoreUnavailable, OutOfSpace, FilesError) as error:
                self._tell(f"index.json of {name} is not written: {error}")
                self._due[name] = self._runtime.now() + COST_FACTOR * PAUSE_S
        return PAUSE_S

    async def _is_fresh(self, name: str, now: float) -> bool:
        """Whether another process has only just written it."""
        found = await self._files.stat(paths.repository(name).index)
        return found is not None and 0 <= now - found.modified_ns / 1e9 < PAUSE_S

    async def write(self, name: str) -> None:
        """Derive the index and write it; not when somebody else is at it."""
        of = paths.repository(name)
        if await self._files.stat(of.lock) is None:  # it was removed
            await self._files.unlink(paths.dirty(name))
            await self._files.unlink(paths.building(name))
            return
        with suppress(Exists):
            await self._files.create(of.index_lock, b"")
        held = await self._files.lock(of.index_lock, exclusive=True, wait=False)
        if held is None:
            return
        try:
            begun = self._runtime.now()
            await self._look(name)
            await self._take_mark(of)
            await self._replace(of)
            await self._files.unlink(paths.building(name))
            now = self._runtime.now()
            self._due[name] = now + max(PAUSE_S, COST_FACTOR * (now - begun))
        finally:
            await self._files.unlock(held)

    async def _take_mark(self, of: RepositoryPaths) -> None:
        await self._files.make_folder(paths.BUILDING)
        async with self._disk.locked(of.lock, exclusive=True):
            with suppress(Absent):
                await self._files.rename(paths.dirty(of.name), paths.building(of.name))

    async def _replace(self, of: RepositoryPaths) -> None:
        content = await self._deriver.derive(of)
        beside = self._disk.tmp()
        try:
            await self._files.create(beside, content)
            found = await self._files.stat(beside)
            assert found is not None
            # Before the index is seen: else it would look like another tool's for a moment.
            await remember(self._disk, of, found, content)
            await self._files.rename(beside, of.index)
        except BaseException:
            await self._files.unlink(beside)
            raise
