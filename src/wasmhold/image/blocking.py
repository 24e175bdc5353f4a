"""The puller for programs without an event loop: every method of `Puller`, blocking.

Made from that one, not written again.  Any number of threads may use one puller.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, NamedTuple, ParamSpec, Self, TypeVar, Unpack

from ..client.caches.port import CacheHandle
from ..client.runtime import ThreadRuntime
from ..oci.descriptor import Descriptor
from ..ports.runtime import run
from . import layer
from .connections import Connections
from .environment import surroundings
from .layer import MAX_IN_MEMORY, LayerFacts, whole
from .manifests import PulledManifest
from .moving import Stream as AsyncStream
from .options import Changes, Configuration, Options
from .puller import Puller
from .stats import Stats

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")


class Stream:
    """The bytes of a blob: ``for chunk in stream``.

    They are known to be right when the last of them comes; else iterating raises DigestMismatch,
    SizeInvalid, ContentDamaged, or what the place does where it breaks for good.  Close it, or use
    it in ``with``.
    """

    def __init__(self, stream: AsyncStream) -> None:
        self._stream, self._chunks = stream, aiter(stream)

    @property
    def size(self) -> int:
        return self._stream.descriptor.size

    @property
    def descriptor(self) -> Descriptor:
        return self._stream.descriptor

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk = run(_next(self._chunks))
        if not chunk:
            raise StopIteration
        return chunk

    def close(self) -> None:
        run(self._stream.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


async def _next(chunks: Any) -> bytes:
    return bytes(await anext(chunks, b""))


@dataclass(frozen=True, slots=True)
class Layer(LayerFacts):
    """One layer of a pull."""

    def open(self) -> Stream:
        """Its bytes; fetched again where the cache had no room for them."""
        return Stream(run(self._opening.open(self.descriptor)))

    def read(self, *, max_size: int = MAX_IN_MEMORY) -> bytes:
        """All of its bytes, verified.  Raises TooLarge."""
        return run(whole(lambda: self._opening.open(self.descriptor), self.descriptor, max_size))


class PulledImage(NamedTuple):
    """Unpacks to manifest and layers; the layers in the manifest's order, the base first."""

    manifest: PulledManifest
    layers: list[Layer]


def _layers(layers: list[layer.Layer]) -> list[Layer]:
    return [Layer(one.descriptor, one.source, one._opening) for one in layers]


def _image(pulled: layer.PulledImage) -> PulledImage:
    return PulledImage(pulled.manifest, _layers(pulled.layers))


def _same(result: R) -> R:
    return result


def _adapted(
    method: Callable[Concatenate[Puller, P], Coroutine[Any, Any, R]], adapt: Callable[[R], S]
) -> Callable[Concatenate[ImagePuller, P], S]:
    @wraps(method)
    def call(self: ImagePuller, /, *args: P.args, **kwargs: P.kwargs) -> S:
        return adapt(run(method(self._puller, *args, **kwargs)))

    return call


def _blocking(
    method: Callable[Concatenate[Puller, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[ImagePuller, P], R]:
    return _adapted(method, _same)


class ImagePuller:
    """Pulls images and artifacts: ``with ImagePuller(cache) as puller: …``

    `cache` None is one in memory; `wasmhold.image.options.Configuration` says what may be told
    beside it.
    """

    def __init__(self, cache: CacheHandle | None = None, **options: Unpack[Options]) -> None:
        """Raises ValueError, PlaceInvalid, PlatformInvalid."""
        configuration = Configuration(**options)
        self._runtime = runtime = ThreadRuntime()
        self._puller = Puller(
            cache, configuration, Connections(configuration.settings(), lambda: runtime)
        )
        self._puller.prepare()

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str],
        /,
        *,
        optional_tiers: bool = False,
        **options: Unpack[Options],
    ) -> Self:
        """With caches, default registry, logins and proxies as `environ` says.

        `options` go before that.  `optional_tiers`: a cache that cannot be used is a warning.
        Raises CacheInvalid for a variable that cannot be taken; what building a cache does; as the
        constructor.
        """
        found = surroundings(environ, optional_tiers=optional_tiers)
        given: Options = {**found.options, **options}
        puller = cls(found.cache, **given)
        run(found.tell(puller._puller.configuration.on_event))
        return puller

    def replace(self, cache: CacheHandle | None = None, **changes: Unpack[Changes]) -> Self:
        """A copy that does some things in another way, over the same connections and counts.

        It ends when this one is closed.  Raises as the constructor.
        """
        other = type(self).__new__(type(self))
        other._runtime = self._runtime
        other._puller = self._puller.copied(cache, changes)
        other._puller.prepare()
        return other

    @property
    def stats(self) -> Stats:
        """What it, and its copies, have done so far."""
        return self._puller.stats

    def cancel(self) -> None:
        """Let everything that runs end soon, with PullCancelled; from any thread."""
        self._runtime.cancel()

    def close(self) -> None:
        """Close all connections, also those that others wait for; those of a copy live on."""
        self._puller.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    fetch_manifest = _blocking(Puller.fetch_manifest)
    fetch_root = _blocking(Puller.fetch_root)
    fetch_child = _blocking(Puller.fetch_child)
    pull_manifest = _blocking(Puller.pull_manifest)
    resolve = _blocking(Puller.resolve)
    lookup = _blocking(Puller.lookup)
    pull = _adapted(Puller.pull, _image)
    pull_image = _adapted(Puller.pull_image, _layers)
    pull_blob = _blocking(Puller.pull_blob)
    open_blob = _adapted(Puller.open_blob, Stream)
    pull_blob_to = _blocking(Puller.pull_blob_to)
    pull_wasm = _blocking(Puller.pull_wasm)
    pull_wasm_to = _blocking(Puller.pull_wasm_to)
    get_wasm_info = _blocking(Puller.get_wasm_info)
    detect_artifact_type = _blocking(Puller.detect_artifact_type)
    pull_image_config = _blocking(Puller.pull_image_config)
    inspect = _blocking(Puller.inspect)
    push_blob = _blocking(Puller.push_blob)
    push_manifest = _blocking(Puller.push_manifest)
    push_index = _blocking(Puller.push_index)
    push_wasm = _blocking(Puller.push_wasm)
    push_artifact = _blocking(Puller.push_artifact)
