"""What an operator allows; checked when made."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from ..oci import limits
from ..oci.digest import Digest
from ..oci.errors import Denied, Unsupported


@dataclass(frozen=True, slots=True)
class Settings:
    """The rules of one registry; the defaults serve any client.

    sparse           manifests may refer to content that is not here
    read_only        nothing may change: 403
    push, delete     False: the API has no such part: 405
    immutable_tags   globs of tags that, once set, neither move nor go
    manifest_limit   bytes of the largest manifest that is taken
    """

    sparse: bool = False
    read_only: bool = False
    push: bool = True
    delete: bool = True
    immutable_tags: tuple[str, ...] = ()
    manifest_limit: int = limits.MANIFEST

    def __post_init__(self) -> None:
        if self.manifest_limit < 1:
            raise ValueError(f"manifest_limit is {self.manifest_limit}: want 1 byte or more")

    def check_push(self) -> None:
        """Raises Denied, Unsupported."""
        if self.read_only:
            raise Denied("this registry is read-only")
        if not self.push:
            raise Unsupported("pushing is switched off in this registry", ("GET", "HEAD"))

    def check_delete(self) -> None:
        """Raises Denied, Unsupported."""
        if self.read_only:
            raise Denied("this registry is read-only")
        if not self.delete:
            raise Unsupported("deleting is switched off in this registry", ("GET", "HEAD"))

    def check_tag(self, tag: str, current: Digest | None, wanted: Digest | None) -> None:
        """May `tag` go from `current` to `wanted` (None: no such tag)?  Raises Denied."""
        if current is None or current == wanted:
            return
        if any(fnmatchcase(tag, glob) for glob in self.immutable_tags):
            raise Denied(f"the tag {tag} is immutable and is {current}: choose another tag")
