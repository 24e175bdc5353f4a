"""Directory stores for tests, on the real file system."""

import itertools
import time
from contextlib import contextmanager

from wasmhold.ports.runtime import Inline, run
from wasmhold.servers.asgi import SystemRandomness
from wasmhold.stores.directory.flock import flock
from wasmhold.stores.directory.native import NativeFiles
from wasmhold.stores.directory.root import enter, leave
from wasmhold.stores.directory.store import DirectoryStore

_NUMBERS = itertools.count()


def inline():
    return Inline(time.time, lambda seconds: time.sleep(min(seconds, 0.001)))


@contextmanager
def opened(folder, runtime=None, files=None, tell=lambda line: None):
    """A store in `folder`; not synced, unless the files are given."""
    runtime = runtime or inline()
    native = files or NativeFiles(str(folder), runtime, locks=flock, durable=False)
    root = run(enter(native, SystemRandomness()))
    try:
        yield DirectoryStore(native, runtime, SystemRandomness(), root, tell)
    finally:
        run(leave(native, root))
        if files is None:
            native.close()
