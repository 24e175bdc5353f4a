"""References: where content lives.  Source: distribution-spec, "Pulling manifests"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from . import limits
from .digest import Digest
from .errors import NameInvalid, TagInvalid

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(rf"[a-zA-Z0-9_][a-zA-Z0-9._-]{{0,{limits.TAG - 1}}}")


def parse_name(text: str, whole: str | None = None, start: int = 0) -> str:
    """`text` itself when it is a repository name of at most 255 characters.

    `whole` and `start` say where it stood, for the error.  Raises NameInvalid.
    """
    if _NAME.fullmatch(text) and len(text) <= limits.NAME:
        return text
    if len(text) > limits.NAME:
        hint = f"a repository name has at most {limits.NAME} characters"
    elif text != text.lower():
        hint = "a repository name must be lower case"
    else:
        hint = "not a repository name"
    raise NameInvalid(hint, whole or text, (start, start + len(text)))


def parse_tag(text: str, whole: str | None = None, start: int = 0) -> str:
    """`text` itself when it is a tag.  Raises TagInvalid; `whole` and `start` as above."""
    if _TAG.fullmatch(text) is None:
        raise TagInvalid("not a tag", whole or text, (start, start + len(text)))
    return text


def split_tag(text: str) -> tuple[str, str | None]:
    """What stands before a tag, and the tag: it is behind the last colon of a path's last part."""
    above, slash, last = text.rpartition("/")
    name, colon, tag = last.partition(":")
    return f"{above}{slash}{name}", tag if colon else None


def familiar(name: str) -> str:
    """A repository's whole name as docker shows it: two that are equal so are one repository."""
    for host in ("docker.io/", "index.docker.io/"):
        if name.startswith(host):
            name = name.removeprefix(host)
            break
    rest = name.removeprefix("library/")
    return name if "/" in rest else rest


def parse_tag_or_digest(text: str) -> str | Digest:
    """What stands behind ``/manifests/``: a digest exactly when it holds a colon (DS-004)."""
    return Digest.parse(text) if ":" in text else parse_tag(text)


@dataclass(frozen=True, slots=True)
class Reference:
    """``registry/name[:tag][@digest]``; when both are given the digest decides."""

    registry: str
    name: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a full reference, for example ``localhost:5000/demo/app:1.0``.

        The registry is never guessed and a tag never added: what ``alpine`` means is a habit of
        one client, and belongs to the command line, not to the vocabulary.

        Raises NameInvalid, TagInvalid, with the span that is wrong; DigestInvalid.
        """
        rest, at, digest = text.partition("@")
        registry, slash, path = rest.partition("/")
        if not slash or not registry:
            raise NameInvalid("want registry/name", text)
        name, colon, tag = path.partition(":")
        start = len(registry) + 1
        parse_name(name, text, start)
        if colon:
            parse_tag(tag, text, start + len(name) + 1)
        return cls(registry, name, tag or None, Digest.parse(digest) if at else None)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.registry}/{self.name}{tag}{digest}"
