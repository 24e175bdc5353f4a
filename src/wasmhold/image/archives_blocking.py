"""`fetch_archive` for programs without an event loop."""

from __future__ import annotations

import os
from contextlib import closing
from typing import Unpack

from ..client.credentials import Auth
from ..client.opening import Opener
from ..client.runtime import ThreadRuntime
from ..client.settings import Settings
from ..client.verbs import warn_user
from ..oci.descriptor import Descriptor
from ..ports.runtime import run
from . import archives
from .archives import How


def fetch_archive(
    url: str, path: str | os.PathLike[str], auth: Auth | None = None, **how: Unpack[How]
) -> Descriptor:
    settings = how.get("settings") or Settings()
    with closing(Opener(settings, ThreadRuntime(), warn_user)) as opener:
        return run(archives.fetch(opener, url, path, auth, how))


fetch_archive.__doc__ = archives.fetch_archive.__doc__
