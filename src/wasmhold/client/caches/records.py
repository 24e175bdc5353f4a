"""Records as files and objects: their names, and their JSON.

A name never leads out of its folder, whatever the key says, and need not be read back: the key
stands in the JSON, and a record that was found under another name is none.
"""

from __future__ import annotations

import hashlib
import json
from typing import Final
from urllib.parse import quote

from ...oci.descriptor import read_descriptor
from ...oci.document import parse_object
from ...oci.errors import Fault, ManifestInvalid
from .port import Record, RecordKey

FOLDER: Final = "refs"
_TAGS: Final = "_tags"  # no part of a repository's name is quoted like this
_MAX_PART: Final = 200  # characters; file systems take 255
_MAX_TIME_S: Final = 1e11  # some thousand years; JSON takes numbers that no time is


def record_path(key: RecordKey) -> str:
    """``refs/HOST/NAME/_tags/TAG.json``, each part quoted where it needs to be."""
    name = "/".join(_part(part) for part in key.name.split("/"))
    return f"{FOLDER}/{_part(key.host)}/{name}/{_TAGS}/{_part(key.tag)}.json"


def host_folder(host: str) -> str:
    """Where all records of a host lie."""
    return f"{FOLDER}/{_part(host)}"


def _part(text: str) -> str:
    quoted = quote(text, safe="", errors="surrogatepass")
    if quoted[:1] in (".", "_"):
        quoted = f"%{ord(quoted[0]):02X}{quoted[1:]}"
    if len(quoted) > _MAX_PART:
        return f"%-{hashlib.sha256(quoted.encode()).hexdigest()}"
    return quoted or "%"


def dump_record(record: Record) -> bytes:
    key = record.key
    document = {
        "host": key.host,
        "name": key.name,
        "tag": key.tag,
        "top": record.top.to_json(),
        "original": record.original,
        "fetched": record.fetched_s,
    }
    return json.dumps(document).encode() + b"\n"


def parse_record(content: bytes) -> Record | None:
    """None for what is no record of ours: that is a miss, and the next one takes its place."""
    faults: list[Fault] = []
    try:
        members = parse_object(content)
    except ManifestInvalid:
        return None
    host, name, tag = (members.get(key) for key in ("host", "name", "tag"))
    original, fetched = members.get("original"), members.get("fetched")
    top = read_descriptor(members.get("top"), "top", faults)
    if (
        top is None
        or not isinstance(host, str)
        or not isinstance(name, str)
        or not isinstance(tag, str)
        or not isinstance(original, str)
        or not isinstance(fetched, int | float)
        or not abs(fetched) < _MAX_TIME_S
    ):
        return None
    return Record(RecordKey(host, name, tag), top, original, float(fetched))
