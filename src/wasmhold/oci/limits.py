"""Every bound that the core keeps, each with its source."""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

NAME: Final = 255  # characters; many clients cut off there (distribution-spec, "Pulling manifests")
TAG: Final = 128  # characters (distribution-spec, "Pulling manifests")
MANIFEST: Final = 4 * MIB  # bytes; the least that a registry should take (distribution-spec)
JSON_DEPTH: Final = 32  # levels; no manifest of the field needs more than eight
PATH: Final = 2048  # bytes of the request's path
QUERY: Final = 8 * KIB  # bytes of the request's query
TAGS_PER_PUSH: Final = 100  # tags of one PUT; the specification wants at least ten
MOUNT_SOURCES: Final = 1000  # repositories that a mount without a source looks through
PAGE: Final = 10_000  # entries of one list; a shorter answer carries a Link
REFERRERS_PAGE: Final = 4 * MIB  # bytes of one referrers answer: what clients take as a manifest
WARNINGS: Final = 4096  # bytes of all warnings in one answer (distribution-spec, "Warnings")
GRAPH_NODES: Final = 100_000  # manifests and blobs of one copy; they are remembered
GRAPH_DEPTH: Final = 32  # indexes in indexes, and referrers of referrers, from where a copy began
LAYOUT_INDEX: Final = 64 * MIB  # bytes of an index.json that is read: 200,000 tags
ARCHIVE_MEMBERS: Final = 200_000  # of an archive; they are remembered
ARCHIVE_NAMES: Final = 64 * MIB  # bytes of all their names and links; they are remembered too
ARCHIVE_UNPACKED: Final = 4096 * MIB  # bytes that any compressed archive may unpack to
ARCHIVE_RATIO: Final = 100  # and beyond that, so many times its own bytes
TAR_HEADER: Final = MIB  # bytes of one pax header or long name, as in Go's archive/tar
TAR_SEGMENTS: Final = 100_000  # of a sparse file; they are remembered while it is unpacked
