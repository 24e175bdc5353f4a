"""Every bound of reading a binary, each with its source."""

from __future__ import annotations

from typing import Final

SECTION: Final = 16 * 2**20  # bytes of a section that is looked into; real ones have some KiB
KEPT: Final = 32 * 2**20  # bytes for all names and payloads; a name or section costs 160 and more
PAYLOAD: Final = 64 * 2**10  # bytes of a custom section that are kept, from its beginning
TYPES: Final = 2**20  # bytes of types that are looked at to tell a WIT package; wasi:http has 5 KiB
TYPE_DEPTH: Final = 100  # levels of component types (the limit of wasmparser)
NAME: Final = 100_000  # bytes of one name (JavaScript API, "Implementation-defined Limits")
