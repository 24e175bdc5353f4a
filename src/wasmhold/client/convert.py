"""The WebAssembly of an artifact in another format; its bytes, and so its digest, stay the same."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from ..artifact import Form
from ..artifact.formats.image import VARIANT
from ..artifact.media_types import TITLE
from ..oci.digest import Digest
from ..oci.errors import WasmInvalid
from ..ports.repository import Repository
from ..ports.runtime import ClientRuntime
from .events import Listener, nobody
from .output import new_file
from .packing import pack_file
from .place import Place, PlaceKind
from .plan import Options
from .pull import Which, choose_wasm, give_wasm
from .push import Pushed, What, push

BASE_NAME: Final = "org.opencontainers.image.base.name"
BASE_DIGEST: Final = "org.opencontainers.image.base.digest"


async def convert(
    source: Repository,
    start: Place,
    destination: Repository,
    end: Place,
    runtime: ClientRuntime,
    what: What,
    which: Which,
    options: Options | None = None,
    listener: Listener = nobody,
) -> Pushed:
    """Push what `start` names to `end` as `what` says, with its annotations and its title.

    Raises what `pull_wasm` and `push` raise.
    """
    root, found, reading = await choose_wasm(source, start.required(), str(start), runtime, which)
    title = reading.layers[-1].annotations.get(TITLE) if reading.form is Form.BLOB else None
    annotations = {key: text for key, text in found.manifest.annotations.items() if key != VARIANT}
    annotations.update(_base(start, root.digest))
    made = replace(
        what,
        title=title if what.title is None else what.title,
        annotations={**annotations, **what.annotations},
    )
    name = (title or start.name).rpartition("/")[2].removesuffix(".wasm") or "module"
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, f"{name}.wasm")
        async with new_file(path, 0o600, runtime) as write:
            await give_wasm(source, found, reading, runtime, listener, write)
        try:
            pushed = await push(
                [path], end, destination, runtime, made, pack_file, options, listener
            )
        except WasmInvalid as error:
            raise WasmInvalid(str(start), error.reason, error.offset) from None
    return replace(pushed, warnings=(*reading.warnings, *pushed.warnings))


def _base(place: Place, digest: Digest) -> Iterator[tuple[str, str]]:
    """Source: image-spec, annotations.md, "Pre-Defined Annotation Keys"."""
    yield BASE_DIGEST, str(digest)
    # The name of a layout or archive tells the folders of the user.
    if place.kind is PlaceKind.REGISTRY:
        yield BASE_NAME, f"{place.repository}:{place.tag}" if place.tag else place.repository
