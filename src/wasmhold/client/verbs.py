"""What one can do with places: every method is one command, and one coroutine over the ports.

`wasmhold.client.Client` runs it under asyncio, `wasmhold.sync.Client` without a loop.  Each imports
what it needs when it is called, so that a command starts fast.
"""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from ..oci.descriptor import Descriptor
from ..oci.digest import Digest
from ..oci.errors import BlobUnknown, ManifestUnknown
from ..oci.layout import tag_of
from ..ports.repository import Repository
from ..ports.runtime import ClientRuntime
from .events import Listener, nobody
from .opening import Opener
from .place import OtherDigest, Place, PlaceInvalid, PlaceKind, is_host
from .settings import Settings

if TYPE_CHECKING:
    from ..artifact import PackedLayer
    from ..package import PackageName
    from ..ports.store import StoredManifest
    from .copy import Copied, Copier
    from .diagnosis import Finding
    from .inspection import Inspection
    from .local import LocalFile
    from .packages import Release, Versions
    from .plan import Options, Plan
    from .pull import Pulled, Which
    from .push import Pushed, What
    from .tree import Referrer

AnyPlace: TypeAlias = Place | str
_OCTETS: Final = "application/octet-stream"


def warn_user(text: str) -> None:
    """As Python warns: on standard error, each place once."""
    warnings.warn(text, stacklevel=2)


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob that was put; `place` is where it lies."""

    place: Place
    descriptor: Descriptor


class Verbs:
    """Opens places for each call and closes them; what they share lives until `close`."""

    def __init__(
        self,
        settings: Settings | None,
        runtime: ClientRuntime,
        warn: Callable[[str], None],
        listener: Listener = nobody,
    ) -> None:
        self.settings = settings or Settings()
        self._runtime, self._listener = runtime, listener
        self._warn = warn
        self._opener = Opener(self.settings, runtime, warn)

    @property
    def opener(self) -> Opener:
        """What opens its places, for what stands on them."""
        return self._opener

    def close(self) -> None:
        """Close all connections, also those that others wait for."""
        self._opener.close()

    def place(self, place: AnyPlace) -> Place:
        """A place from its text.  Raises PlaceInvalid; NameInvalid, TagInvalid, DigestInvalid."""
        if isinstance(place, Place):
            return place
        return Place.parse(place, self.settings.default_registry)

    @asynccontextmanager
    async def open(self, place: AnyPlace, *, create: bool = False) -> AsyncIterator[Repository]:
        """The repository of a place, closed at the end of the block.

        `create`: a store's directory is made where it is missing.
        """
        repository = await self._opener.open(self.place(place), create=create)
        try:
            yield repository
        finally:
            await repository.aclose()

    @asynccontextmanager
    async def _reading(
        self, place: AnyPlace, *, is_one: bool = True
    ) -> AsyncIterator[tuple[Repository, Place]]:
        """The same, and the place; of a docker archive its one image where none is named."""
        at = self.place(place)
        async with self.open(at) as repository:
            if is_one and at.kind is PlaceKind.DOCKER and at.reference is None:
                from .places.docker import DockerRepository

                assert isinstance(repository, DockerRepository)
                found = await repository.only()
                at = replace(at, tag=tag_of(found), digest=found.digest)
            yield repository, at

    def _options(self, referrers: bool = False, platform: str | None = None) -> Options:
        from .plan import Options
        from .platforms import Platform

        wanted = None if platform is None else Platform.parse(platform)
        return Options(referrers, wanted, self.settings.concurrency)

    # ---- reading

    async def resolve(self, place: AnyPlace) -> Descriptor:
        """Media type, digest and size of what a place names.  Raises ManifestUnknown."""
        async with self._reading(place) as (repository, at):
            return await self._resolve(repository, at)

    async def _resolve(self, repository: Repository, place: Place) -> Descriptor:
        reference = place.required()
        found = await repository.resolve(reference)
        if found is None:
            raise ManifestUnknown(repository.place, str(reference))
        return found

    async def tags(self, place: AnyPlace) -> list[str]:
        """All tags of a repository, in byte order.  Raises NameUnknown."""
        from .tags import all_tags

        async with self.open(place) as repository:
            return await all_tags(repository)

    async def repositories(self, host: str) -> list[str]:
        """The names of all repositories that a registry lists, or that ``store:DIR`` has.

        Raises PlaceInvalid; NameUnknown where DIR is no store.
        """
        store = PlaceKind.STORE.value
        if host.startswith(store) and host != store and "//" not in host:
            from .local_images import LocalImages

            return await LocalImages(host.removeprefix(store), self._runtime).listed()
        from .catalog import repositories

        return await repositories(self._opener.network, _host(host), self._opener.credentials)

    async def referrers(
        self, place: AnyPlace, artifact_type: str | None = None, *, depth: int = 1
    ) -> list[Referrer]:
        """What refers to the place, and, with more `depth`, to that.  Raises CannotList."""
        from .tree import read_tree

        async with self._reading(place) as (repository, at):
            subject = await self._resolve(repository, at)
            return await read_tree(repository, subject.digest, artifact_type, depth)

    async def manifest(self, place: AnyPlace) -> StoredManifest:
        """A manifest, byte for byte.  Raises ManifestUnknown."""
        async with self._reading(place) as (repository, at):
            return await repository.manifest_get(at.required())

    async def blob(self, place: AnyPlace, write: Callable[[bytes], object]) -> Descriptor:
        """Give the bytes of the blob that the place's digest names to `write`.

        They are verified at the end alone.  Raises BlobUnknown; CopyFailed.
        """
        from .output import fetch

        at = self.place(place)
        async with self.open(at) as repository:
            descriptor = await _blob(repository, at)
            await fetch(repository, descriptor, write, self._runtime, self._listener)
            return descriptor

    async def blob_file(self, place: AnyPlace, path: str) -> Descriptor:
        """The same as a file that has its name when it is verified."""
        from .output import fetch_file

        at = self.place(place)
        async with self.open(at) as repository:
            descriptor = await _blob(repository, at)
            await fetch_file(repository, descriptor, path, self._runtime, self._listener)
            return descriptor

    async def inspect(
        self,
        place: AnyPlace,
        *,
        platform: str | None = None,
        download: bool = False,
        of_wasm: bool = False,
    ) -> Inspection:
        """What a place holds; with `download` also what only the bytes of the layer tell.

        `of_wasm`: of an index what a pull would take.
        """
        from .inspection import inspect_artifact
        from .pull import Which

        async with self._reading(place) as (repository, at):
            return await inspect_artifact(
                repository,
                at,
                self._runtime,
                Which(platform=platform),
                download=download,
                of_wasm=of_wasm,
            )

    async def inspect_file(self, path: str) -> Inspection:
        """What a WebAssembly file is.  Raises FileInvalid; WasmInvalid."""
        from .inspection import inspect_file

        return await self._runtime.offload(inspect_file, path)

    # ---- pull

    async def pull(
        self, place: AnyPlace, path: str, which: Which | None = None, *, mode: int = 0o644
    ) -> Pulled:
        """The WebAssembly of an artifact as a file, verified before it has its name.

        `mode` is that of a new file, less the umask.  Raises NotWasm, Ambiguous, ArtifactInvalid,
        CopyFailed.
        """
        from .pull import Which, pull_wasm

        async with self._reading(place) as (repository, at):
            return await pull_wasm(
                repository,
                at.required(),
                path,
                str(at),
                self._runtime,
                which or Which(),
                self._listener,
                mode,
            )

    async def pull_folder(self, place: AnyPlace, folder: str, which: Which | None = None) -> Pulled:
        """All layers with a title, as files below `folder`; without titles the WebAssembly.

        Raises as `pull`.
        """
        from .pull import Which, pull_folder, untitled

        async with self._reading(place) as (repository, at):
            return await pull_folder(
                repository,
                at.required(),
                folder,
                str(at),
                self._runtime,
                which or Which(),
                self._listener,
                untitled(at.name),
            )

    async def wasm(
        self, place: AnyPlace, which: Which | None = None, *, limit: int = 256 << 20
    ) -> bytes:
        """The WebAssembly of an artifact in memory.  Raises TooLarge; what `pull` raises."""
        from .pull import Which, read_wasm

        async with self._reading(place) as (repository, at):
            return await read_wasm(
                repository, at.required(), str(at), self._runtime, which or Which(), limit
            )

    # ---- writing

    async def push(self, files: Sequence[str], place: AnyPlace, what: What | None = None) -> Pushed:
        """Make an artifact of files and push it; without a tag by its digest alone.

        Raises FileInvalid, WasmInvalid, ArtifactInvalid, DigestMismatch, CopyFailed.
        """
        from .push import What, push

        at, what = self.place(place), self._timed(what or What())
        async with self.open(at, create=True) as repository:
            return await push(
                files,
                at,
                repository,
                self._runtime,
                what,
                _pack_file,
                self._options(),
                self._listener,
            )

    def _timed(self, what: What) -> What:
        from .push import time_text

        if what.created is not None:
            return what
        created = time_text(self._runtime.now(), self.settings.environ)
        return replace(what, created=created)

    async def convert(
        self,
        source: AnyPlace,
        destination: AnyPlace,
        what: What,
        which: Which | None = None,
    ) -> Pushed:
        """Push the WebAssembly of an artifact in another format, that of `what`.

        Its annotations are kept, and those are added that name it as the base.  A destination
        without a tag takes the source's.  Raises as `pull` and `push`.
        """
        from .convert import convert
        from .pull import Which

        end = self.place(destination)
        async with self._reading(source) as (from_there, start):
            if end.reference is None:
                end = replace(end, tag=start.tag)
            async with self.open(end, create=True) as to_there:
                return await convert(
                    from_there,
                    start,
                    to_there,
                    end,
                    self._runtime,
                    self._timed(what),
                    which or Which(),
                    self._options(),
                    self._listener,
                )

    async def attach(
        self, files: Sequence[str], place: AnyPlace, what: What | None = None
    ) -> Pushed:
        """Push an artifact that refers to the place.  Raises as `push`; ManifestUnknown."""
        from .push import What

        at = self.place(place)
        subject = await self.resolve(at)
        about = replace(what or What(), subject=subject)
        return await self.push(files, replace(at, tag=None, digest=None), about)

    async def copy(
        self,
        source: AnyPlace,
        destination: AnyPlace,
        *,
        referrers: bool = False,
        platform: str | None = None,
        all_tags: bool = False,
    ) -> Copied:
        """Copy content from place to place, byte for byte.

        A destination without a tag takes the source's.  `referrers`: also what refers to it;
        `platform`: of an index only that manifest; `all_tags`: each under its own name.
        Raises CopyFailed.
        """
        options = self._options(referrers, platform)
        async with self._copier(source, destination, options, all_tags) as (copier, start, end):
            return await copier.follow(await _planned(copier, start, end, all_tags))

    async def plan(
        self,
        source: AnyPlace,
        destination: AnyPlace,
        *,
        referrers: bool = False,
        platform: str | None = None,
        all_tags: bool = False,
    ) -> Plan:
        """What the same copy would do; nothing is written."""
        options = self._options(referrers, platform)
        async with self._copier(source, destination, options, all_tags) as (copier, start, end):
            return await _planned(copier, start, end, all_tags)

    @asynccontextmanager
    async def _copier(
        self, source: AnyPlace, destination: AnyPlace, options: Options, all_tags: bool
    ) -> AsyncIterator[tuple[Copier, Place, Place]]:
        from .copy import Copier

        async with self._reading(source, is_one=not all_tags) as (from_there, start):
            end = _named(self.place(destination), start)
            async with self.open(end, create=True) as to_there:
                yield (
                    Copier(from_there, to_there, self._runtime, options, self._listener),
                    start,
                    end,
                )

    async def tag(self, place: AnyPlace, tags: Sequence[str]) -> Descriptor:
        """Point `tags` of the same repository at what the place names.  Raises ManifestUnknown."""
        at = self.place(place)
        async with self.open(at) as repository:
            stored = await repository.manifest_get(at.required())
            await repository.manifest_put(stored, tags)
            await repository.flush()
        return stored.descriptor

    async def delete(self, place: AnyPlace) -> None:
        """Remove a tag, or, by its digest, a manifest and the tags that point to it.

        Raises ManifestUnknown; Unsupported where the place deletes nothing; PlaceInvalid for a
        place with both.
        """
        at = self.place(place)
        reference = at.required()
        if at.tag is not None and at.digest is not None:
            raise PlaceInvalid("delete the tag or the digest, not both", str(at))
        async with self.open(at) as repository:
            if isinstance(reference, Digest):
                await repository.manifest_delete(reference)
            else:
                await repository.tag_delete(reference)
            await repository.flush()

    async def put_manifest(
        self, content: bytes, place: AnyPlace, media_type: str | None = None
    ) -> Descriptor:
        """Store a manifest, byte for byte.  Raises ManifestInvalid, DigestMismatch."""
        from ..oci.manifest import parse_manifest
        from ..ports.store import StoredManifest

        at = self.place(place)
        manifest = parse_manifest(content, media_type)
        algorithm = at.digest.algorithm if at.digest else "sha256"
        digest = Digest.of(content, algorithm)
        if at.digest is not None and at.digest != digest:
            raise OtherDigest(str(at.digest), str(digest))
        stored = StoredManifest(digest, manifest.media_type, content)
        async with self.open(at, create=True) as repository:
            await repository.manifest_put(stored, (at.tag,) if at.tag else ())
            await repository.flush()
        return Descriptor(manifest.media_type, digest, len(content))

    async def put_blob(self, path: str, place: AnyPlace) -> Blob:
        """Put the bytes of a file into a repository.  Raises FileInvalid, DigestMismatch."""
        from .events import Side
        from .failure import blamed
        from .local import read_file
        from .places.made import Made
        from .reader import Reader

        at = self.place(place)
        algorithm = at.digest.algorithm if at.digest else "sha256"
        read = await self._runtime.offload(read_file, path, algorithm)
        if at.digest is not None and at.digest != read.digest:
            raise OtherDigest(str(at.digest), str(read.digest))
        descriptor = Descriptor(_OCTETS, read.digest, read.size)
        made = Made(self._runtime, path)
        made.files[read.digest] = (path, read.size)
        source = Reader(made, descriptor, self._runtime, self._listener, lambda: False)
        async with self.open(at, create=True) as repository:
            with blamed(Side.DESTINATION, repository.place, f"writing blob {read.digest}"):
                if await repository.blob_size(read.digest) != read.size:
                    await repository.blob_put(descriptor, source)
                await repository.flush()
        return Blob(at.at(read.digest), descriptor)

    # ---- packages

    async def versions(
        self, package: str, registry: str | None = None, *, folder: str | None = None
    ) -> Versions:
        """The versions of ``namespace:name``, in the registry that its namespace belongs to.

        `registry` is the domain to ask instead, `folder` one with packages below it.  Raises
        PackageInvalid; NameUnknown.
        """
        from ..package import PackageName
        from .packages import read_versions

        name = PackageName.parse(package)
        place = await self._package(name, registry, folder)
        async with self.open(place) as repository:
            return await read_versions(repository, name, place)

    async def release(
        self,
        package: str,
        registry: str | None = None,
        *,
        folder: str | None = None,
        prereleases: bool = False,
    ) -> Release:
        """One release, ``namespace:name@version``, or without a version the newest.

        From where `versions` lists them.  Raises PackageInvalid, VersionInvalid; PackageUnknown,
        NameUnknown; ArtifactInvalid, WasmInvalid.
        """
        from ..package import PackageSpec
        from .packages import read_release, read_versions

        spec = PackageSpec.parse(package)
        place = await self._package(spec.package, registry, folder)
        async with self.open(place) as repository:
            versions = await read_versions(repository, spec.package, place)
            return await read_release(repository, versions, spec.version, prereleases=prereleases)

    async def fetch_release(self, release: Release, path: str) -> None:
        """The content of a release as a file that has its name when it is verified."""
        from .output import fetch_file

        async with self.open(release.place) as repository:
            await fetch_file(repository, release.content, path, self._runtime, self._listener)

    async def _package(
        self, package: PackageName, registry: str | None, folder: str | None
    ) -> Place:
        from .packages import find_place, registry_of

        if folder is not None:
            return Place(PlaceKind.PACKAGES, folder, f"{package.namespace}/{package.name}")
        domain = _host(registry or registry_of(package, self.settings.default_registry))
        return await find_place(self._opener.network, package, domain, self._warn)

    # ---- help

    async def diagnose(self, place: AnyPlace | None = None) -> list[Finding]:
        """What is between us and a place, step by step, up to the first that is not well."""
        from .diagnosis import diagnose

        at = None if place is None else self.place(place)
        return [found async for found in diagnose(self._opener, at)]

    # ---- logins

    async def login(self, host: str, user: str, password: str) -> str:
        """Try a login and keep it where docker would; says where: a file or a program.

        Raises AuthFailed, RemoteError, Unreachable; FileInvalid, HelperFailed.
        """
        from .catalog import ping
        from .credentials import Basic, Given

        auth = Basic(user, password)
        await ping(self._opener.network, _host(host), Given(auth))
        return await self._opener.user.store(host, auth)

    async def logout(self, host: str) -> list[str]:
        """Forget the logins to `host`; says where there were any."""
        return await self._opener.user.erase(_host(host))


def _pack_file(file: LocalFile, name: str) -> AbstractContextManager[tuple[str, PackedLayer]]:
    from .packing import pack_file

    return pack_file(file, name)


def _host(text: str) -> str:
    if not is_host(text):
        raise PlaceInvalid("want the host of a registry, HOST[:PORT]", text)
    return text


async def _blob(repository: Repository, place: Place) -> Descriptor:
    if place.digest is None:
        raise PlaceInvalid("a blob is named by its digest, want NAME@DIGEST", str(place))
    size = await repository.blob_size(place.digest)
    if size is None:
        raise BlobUnknown(repository.place, str(place.digest))
    return Descriptor(_OCTETS, place.digest, size)


def _named(place: Place, source: Place) -> Place:
    """A docker archive names what comes into it, after where it comes from unless told."""
    if place.kind is not PlaceKind.DOCKER or place.name:
        return place
    if not source.whole_name:
        raise PlaceInvalid(
            "a docker archive wants a whole name: docker-archive:FILE:NAME:TAG", str(place)
        )
    return replace(place, name=source.whole_name)


async def _planned(copier: Copier, start: Place, end: Place, all_tags: bool) -> Plan:
    if all_tags:
        for place in (start, end):
            if place.reference is not None:
                raise PlaceInvalid("all tags are copied: want no tag and no digest", str(place))
        return await copier.plan_all()
    tag = end.tag or (start.tag if end.digest is None else None)
    plan = await copier.plan(start.required(), (tag,) if tag else ())
    (root,) = plan.roots
    if end.digest is not None and end.digest != root.digest:
        raise OtherDigest(str(end.digest), str(root.digest))
    return plan
