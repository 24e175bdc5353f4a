"""Which right each operation needs, and in which repository."""

from __future__ import annotations

from enum import Enum
from typing import Final, TypeAlias

from ..protocol import operations as op


class Right(Enum):
    """What somebody may do in a repository; the values are the words of an access file."""

    READ = "read"
    WRITE = "write"
    DELETE = "delete"


# A right, and the repository in which; None: the root of the API, which is only ever read.
Need: TypeAlias = tuple[Right, str | None]

ALL: Final = tuple(Right)

RIGHTS: Final[dict[type[op.Operation], Right]] = {
    op.Ping: Right.READ,
    op.Redirect: Right.READ,
    op.ListRepositories: Right.READ,
    op.GetManifest: Right.READ,
    op.GetBlob: Right.READ,
    op.ListTags: Right.READ,
    op.ListReferrers: Right.READ,
    op.StartUpload: Right.WRITE,
    op.PushBlob: Right.WRITE,
    op.MountBlob: Right.WRITE,  # whether its source may be read decides if it can be done
    op.AppendChunk: Right.WRITE,
    op.CommitUpload: Right.WRITE,
    op.GetUpload: Right.WRITE,
    op.CancelUpload: Right.WRITE,
    op.PutManifest: Right.WRITE,
    op.DeleteManifest: Right.DELETE,
    op.DeleteBlob: Right.DELETE,
}

ROOT: Final[Need] = Right.READ, None


def needs(operation: op.Operation | None) -> Need:
    """What `operation` needs; None is what lies beside the repositories, such as metrics."""
    if operation is None:
        return ROOT
    return RIGHTS[type(operation)], op.repository_of(operation)
