"""Bytes on standard output."""

from __future__ import annotations

import sys


def write_out(content: bytes) -> None:
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()
