"""The same for programs without an event loop: made from that, not written again."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Sequence
from contextlib import nullcontext
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar, Unpack

from ...client.runtime import ThreadRuntime
from ...ports.runtime import run
from ..events import OnEvent
from . import pack
from .kinds import Compression
from .options import How
from .pack import PackedLayer
from .unpacker import Unpacker, UnpackOptions

P = ParamSpec("P")
R = TypeVar("R")


def _blocking(
    method: Callable[Concatenate[Unpacker, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[LayerUnpacker, P], R]:
    @wraps(method)
    def call(self: LayerUnpacker, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return run(method(self._unpacker, *args, **kwargs))

    return call


class LayerUnpacker:
    """Unpacks layers into a folder: ``LayerUnpacker(root).unpack_layer(stream, type)``

    `atomic`, see `Unpacker`; `on_event` hears of warnings; what else may be said, `How` knows.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        atomic: bool | None = None,
        on_event: OnEvent | None = None,
        **options: Unpack[UnpackOptions],
    ) -> None:
        """Raises InputError."""
        self._runtime = runtime = ThreadRuntime()
        self._unpacker = Unpacker(
            root, How(**options), lambda: nullcontext(runtime), atomic, on_event
        )

    @property
    def root(self) -> str:
        return self._unpacker.root

    def cancel(self) -> None:
        """Let what runs end soon, with Cancelled; from any thread."""
        self._runtime.cancel()

    unpack_layer = _blocking(Unpacker.unpack_layer)
    unpack_layers = _blocking(Unpacker.unpack_layers)
    unpack_image = _blocking(Unpacker.unpack_image)


def pack_layer(
    root: str | os.PathLike[str],
    paths: Sequence[str] | None = None,
    *,
    compression: Compression | str = Compression.GZIP,
    level: int | None = None,
    mtime: int = 0,
    output: str | os.PathLike[str] | None = None,
) -> PackedLayer:
    """Pack what lies in the folder `root`; `wasmhold.image.layers.pack` says what each is."""
    return run(
        pack.pack_layer(
            ThreadRuntime(),
            root,
            paths,
            compression=compression,
            level=level,
            mtime=mtime,
            output=output,
        )
    )
