"""Numbers and texts of strangers, as people read them."""

from __future__ import annotations


def amount(count: int, what: str) -> str:
    """``1 blob``, ``2 blobs``; 0 is many."""
    plural = what.removesuffix("y") + "ies" if what.endswith("y") else f"{what}s"
    return f"{count:,} {what if count == 1 else plural}"


def size(count: int) -> str:
    """Bytes as people read them."""
    number = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.{0 if unit == 'bytes' else 1}f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"


def plain(text: str) -> str:
    """One line that cannot steer a terminal, whoever wrote it."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
