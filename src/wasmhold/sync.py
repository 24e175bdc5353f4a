"""For programs without an event loop: every method of `wasmhold.client`, blocking; pullers too.

Made from that one, not written again.  Any number of threads may use one client.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, Self, TypeVar

from .client.events import Listener, nobody
from .client.opening import Opener
from .client.place import Place
from .client.runtime import ThreadRuntime
from .client.settings import Settings
from .client.verbs import AnyPlace, Verbs, warn_user
from .ports.runtime import run

if TYPE_CHECKING:
    from .client.caches.blocking import BlobCache as BlobCache
    from .client.caches.shared_blocking import ObjectCache as ObjectCache
    from .client.credentials import RegistryAuth as RegistryAuth
    from .client.local_blocking import LocalRegistry as LocalRegistry
    from .image.archives_blocking import fetch_archive as fetch_archive
    from .image.blocking import ImagePuller as ImagePuller
    from .image.exchange_blocking import export_image as export_image
    from .image.exchange_blocking import import_image as import_image
    from .image.layers.blocking import LayerUnpacker as LayerUnpacker
    from .image.layers.blocking import pack_layer as pack_layer

P = ParamSpec("P")
R = TypeVar("R")

# What a client of places does without is imported when it is asked for.
_PLACES: Final = {
    "BlobCache": "client.caches.blocking",
    "ImagePuller": "image.blocking",
    "LayerUnpacker": "image.layers.blocking",
    "LocalRegistry": "client.local_blocking",
    "ObjectCache": "client.caches.shared_blocking",
    "RegistryAuth": "client.credentials",
    "export_image": "image.exchange_blocking",
    "fetch_archive": "image.archives_blocking",
    "import_image": "image.exchange_blocking",
    "pack_layer": "image.layers.blocking",
}


def __getattr__(name: str) -> object:
    module = _PLACES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{module}", __package__), name)


def _blocking(
    method: Callable[Concatenate[Verbs, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[Client, P], R]:
    @wraps(method)
    def call(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return run(method(self._verbs, *args, **kwargs))

    return call


class Client:
    """Copies, pushes, pulls and lists; closed at the end of a ``with`` block.

    `warn` is told what a user should know, `listener` what happens in copies.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        warn: Callable[[str], None] = warn_user,
        listener: Listener = nobody,
    ) -> None:
        self._runtime = ThreadRuntime()
        self._verbs = Verbs(settings, self._runtime, warn, listener)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def cancel(self) -> None:
        """Let everything that runs end soon, with Cancelled; from any thread."""
        self._runtime.cancel()

    @property
    def opener(self) -> Opener:
        """What opens its places, for what stands on them."""
        return self._verbs.opener

    def close(self) -> None:
        """Close all connections, also those that others wait for."""
        self._verbs.close()

    def place(self, place: AnyPlace) -> Place:
        """A place from its text.  Raises PlaceInvalid; NameInvalid, TagInvalid, DigestInvalid."""
        return self._verbs.place(place)

    resolve = _blocking(Verbs.resolve)
    tags = _blocking(Verbs.tags)
    repositories = _blocking(Verbs.repositories)
    referrers = _blocking(Verbs.referrers)
    inspect = _blocking(Verbs.inspect)
    inspect_file = _blocking(Verbs.inspect_file)
    manifest = _blocking(Verbs.manifest)
    put_manifest = _blocking(Verbs.put_manifest)
    blob = _blocking(Verbs.blob)
    blob_file = _blocking(Verbs.blob_file)
    put_blob = _blocking(Verbs.put_blob)
    pull = _blocking(Verbs.pull)
    pull_folder = _blocking(Verbs.pull_folder)
    wasm = _blocking(Verbs.wasm)
    push = _blocking(Verbs.push)
    attach = _blocking(Verbs.attach)
    convert = _blocking(Verbs.convert)
    copy = _blocking(Verbs.copy)
    plan = _blocking(Verbs.plan)
    tag = _blocking(Verbs.tag)
    delete = _blocking(Verbs.delete)
    versions = _blocking(Verbs.versions)
    release = _blocking(Verbs.release)
    fetch_release = _blocking(Verbs.fetch_release)
    diagnose = _blocking(Verbs.diagnose)
    login = _blocking(Verbs.login)
    logout = _blocking(Verbs.logout)


def fetch_wasm(reference: str, settings: Settings | None = None) -> bytes:
    """The bytes of a module or component: ``oci://HOST/NAME:TAG``, or any place.

    With the logins of docker and podman.  Raises NotWasm, Ambiguous, ArtifactInvalid; CopyFailed;
    TooLarge above 256 MiB.
    """
    with Client(settings) as client:
        return client.wasm(reference.removeprefix("oci://"))
