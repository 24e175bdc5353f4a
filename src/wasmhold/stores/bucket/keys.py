"""The names of objects.  Every key is made here, and read here; nothing else knows their form.

    key                          object                                      points to
    ---------------------------  ------------------------------------------  ------------------
    b/<digest>                   blob, one for the whole store               u/
    data/<upload>/<part>         bytes; the key is never used a second time
    n/<repo>!                    "there is this repository"
    probe/<nonce>                obstore.py tries there what the object store can, and removes it
    r/<repo>/_b/<digest>         link: the repository has this blob          b/
    r/<repo>/_m/<digest>         manifest, with its bytes                    _b, _m, n/
    r/<repo>/_r/<subject>/<d>    mark: manifest d has this subject           _m
    r/<repo>/_t/<tag>            tag                                         _m
    r/<repo>/_x/<digest>/<tag>   mark: the tag points here, or soon may      _m
    u/<upload>                   upload session; later the owner of data/    data/

* No component of a repository's name begins with ``_``, so all keys of a repository stand together
  in a listing of ``r/``, and none of another's stands between them (those of repositories below it
  come before or after).
* In a listing of everything, what is pointed to comes before what points: ``b/`` before ``r/``,
  ``_b`` before ``_m`` before ``_r`` and ``_x``, ``n/`` before ``r/``.  The collector relies on it.
* ``!`` sorts before every character that a name may hold: ``n/`` is in the byte order of names.
* No key is another one with a ``/`` behind it: object stores that keep files could not hold both.
"""

from __future__ import annotations

from typing import NamedTuple

from ...oci.digest import Digest

BLOBS = "b/"
DATA = "data/"
NAMES = "n/"
REPOSITORIES = "r/"
UPLOADS = "u/"


def upload(session: str) -> str:
    return f"u/{session}"


def data(session: str, part: str) -> str:
    return f"data/{session}/{part}"


def data_of(session: str) -> str:
    """The prefix of everything that the session has staged."""
    return f"data/{session}/"


def blob(digest: Digest | str) -> str:
    return f"b/{digest}"


def name(repository: str) -> str:
    return f"n/{repository}!"


def link(repository: str, digest: Digest | str) -> str:
    return f"r/{repository}/_b/{digest}"


def manifest(repository: str, digest: Digest | str) -> str:
    return f"r/{repository}/_m/{digest}"


def target(repository: str, reference: str) -> str:
    """What a manifest refers to by ``b/<digest>`` or ``m/<digest>``."""
    return f"r/{repository}/_{reference}"


def manifests(repository: str) -> str:
    """The prefix of the repository's manifests."""
    return f"r/{repository}/_m/"


def referrer(repository: str, subject: Digest | str, digest: Digest | str) -> str:
    return f"r/{repository}/_r/{subject}/{digest}"


def referrers(repository: str, subject: Digest | str) -> str:
    """The prefix of the marks of those manifests whose subject this is."""
    return f"r/{repository}/_r/{subject}/"


def tag(repository: str, text: str) -> str:
    return f"r/{repository}/_t/{text}"


def tags(repository: str) -> str:
    """The prefix of the repository's tags."""
    return f"r/{repository}/_t/"


def mark(repository: str, digest: Digest | str, tag_text: str) -> str:
    return f"r/{repository}/_x/{digest}/{tag_text}"


def marks(repository: str, digest: Digest | str) -> str:
    """The prefix of the marks of the tags that point, or may soon point, to this manifest."""
    return f"r/{repository}/_x/{digest}/"


def last(key: str) -> str:
    """The last component: a digest, a tag, a session or a part, as the table says."""
    return key[key.rindex("/") + 1 :]


def session_of_data(key: str) -> str:
    return key[len(DATA) : key.rindex("/")]


def repository_of_name(key: str) -> str:
    return key[len(NAMES) : -1]


class Place(NamedTuple):
    """Where a key under ``r/`` stands: ``r/<repository>/_<kind>/<rest>``."""

    repository: str
    kind: str  # one of b m r t x
    rest: str


def place(key: str) -> Place:
    cut = key.index("/_")
    return Place(key[len(REPOSITORIES) : cut], key[cut + 2], key[cut + 4 :])


def reference(key: str) -> str:
    """How a manifest refers to this link or manifest: `target` turned round."""
    return key[key.index("/_") + 2 :]


def digest_of(text: str) -> Digest:
    """A digest that we have written ourselves, so it needs no check."""
    algorithm, _, encoded = text.partition(":")
    return Digest(algorithm, encoded)
