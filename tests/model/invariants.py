"""What must hold after every change of the bucket, and at the end."""

from __future__ import annotations

from wasmhold.stores.bucket import keys
from wasmhold.stores.bucket.cells import GONE, LIVE, THERE, unpack
from wasmhold.stores.bucket.content import Content

from .content import BLOB_OF, DOCUMENT_OF, DOCUMENTS, named


class Violation(Exception):
    pass


CELLS = {}


def cell_of(body):
    cell = CELLS.get(body)
    if cell is None:
        if len(CELLS) > 200_000:
            CELLS.clear()
        cell = CELLS[body] = unpack(body, "")
    return cell


def state(store, key):
    body = store.get(key)
    return GONE if body is None else cell_of(body).state


def check(store, log, scenario):
    for key, body in store.items():
        if key.startswith("data/"):
            continue
        cell = cell_of(body)
        if cell.state not in THERE:
            continue
        if key.startswith("b/") or "/_b/" in key:
            check_bytes(store, key, cell)
        elif "/_m/" in key:
            check_manifest(store, key, cell, scenario)
        elif "/_t/" in key and not scenario.deletes:
            repository = keys.place(key).repository
            if state(store, keys.manifest(repository, cell.payload)) not in THERE:
                raise Violation(named(f"{key} points to a manifest that is missing"))
    check_clients(store, log, scenario)


def check_bytes(store, key, cell):
    content, found = Content.parse(cell.payload), []
    for part in content.parts:
        data = store.get(keys.data(content.upload, part.name))
        if data is None:
            raise Violation(named(f"{key} is live, its data is missing"))
        found.append(data)
    if b"".join(found) != BLOB_OF[keys.last(key)]:
        raise Violation(named(f"{key} has the wrong bytes"))


def check_manifest(store, key, cell, scenario):
    repository, _, digest = keys.place(key)
    document = DOCUMENT_OF[digest]
    if cell.content != document.content:
        raise Violation(f"{document.name} has the wrong bytes")
    wanted = [keys.target(repository, f"b/{keys_of_blob}") for keys_of_blob in blobs_of(document)]
    if not scenario.deletes:  # a client may delete what an index refers to
        wanted += [keys.manifest(repository, DOCUMENTS[m].digest) for m in document.manifests]
    wanted.append(keys.name(repository))
    for target in wanted:
        if state(store, target) not in THERE:
            raise Violation(named(f"{key} is live, {target} is missing"))
    if document.subject is not None:
        subject = DOCUMENTS[document.subject].digest
        if state(store, keys.referrer(repository, subject, digest)) != LIVE:
            raise Violation(named(f"{key} is live, and not among the referrers"))


def blobs_of(document):
    return [str(layer.digest) for layer in document.manifest.children if layer.size and
            str(layer.digest) in BLOB_OF]  # fmt: skip


def check_clients(store, log, scenario):
    acknowledged = {entry[1]: i for i, entry in enumerate(log) if entry[0] == "ack"}
    operations = [
        (entry[1], acknowledged.get(entry[1]), entry[2], entry[3:])
        for entry in log
        if entry[0] == "begin"
    ]
    if not scenario.deletes:
        for _, end, kind, what in operations:
            if kind != "manifest" or end is None:
                continue
            repository, name = what
            kept = not scenario.untagged or DOCUMENTS[name].subject is not None
            key = keys.manifest(repository, DOCUMENTS[name].digest)
            if kept and state(store, key) not in THERE:
                raise Violation(f"the acknowledged manifest {what} is missing")
    for repository, tag in {what[:2] for _, _, kind, what in operations if kind == "tag"}:
        check_tag(store, operations, scenario, repository, tag)


def check_tag(store, operations, scenario, repository, tag):
    """It has the value of a write that is not wholly before another one that was acknowledged."""
    writes = [
        (start, end, what[2])
        for start, end, kind, what in operations
        if kind == "tag" and what[:2] == (repository, tag)
    ]
    deletes = [
        (start, end, what[1])
        for start, end, kind, what in operations
        if kind == "delete" and what[0] == repository
    ]

    def over(end, later):
        return end is not None and any(e is not None and s > end for s, e, _ in later)

    allowed = {
        value
        for _, end, value in writes
        if not over(end, writes) and not over(end, [d for d in deletes if d[2] == value])
    }
    if all(end is None for _, end, _ in writes) or any(not over(e, writes) for _, e, _ in deletes):
        allowed.add(None)
    body = store.get(keys.tag(repository, tag))
    now = None
    if body is not None and cell_of(body).state == LIVE:
        digest = cell_of(body).payload
        now = DOCUMENT_OF[digest].name
        if scenario.deletes and state(store, keys.manifest(repository, digest)) not in THERE:
            now = None
    if now not in allowed:
        raise Violation(f"the tag {tag} is {now}, may be {sorted(map(str, allowed))}")


def check_no_garbage(store, forgets):
    """Collections have run until nothing changed: what is there is live, and is reached."""
    need = set()
    for key, body in store.items():
        if key.startswith("data/"):
            continue
        cell = cell_of(body)
        if cell.state == GONE and not forgets:
            need.add(key)
        elif cell.state != LIVE:
            raise Violation(named(f"{key} stays {cell.state.name}"))
        elif key.startswith("r/"):
            need |= reached(store, key, cell)
    for key in store:
        if "/_t/" not in key and "/_m/" not in key and key not in need:
            raise Violation(named(f"garbage stays: {key}"))


def reached(store, key, cell):
    """What keeps its place because of `key`."""
    repository, kind, rest = keys.place(key)
    if kind == "m":
        document = DOCUMENT_OF[rest]
        found = {keys.link(repository, digest) for digest in blobs_of(document)}
        found.add(keys.name(repository))
        if document.subject is not None:
            found.add(keys.referrer(repository, DOCUMENTS[document.subject].digest, rest))
        return found
    if kind == "b":
        content = Content.parse(cell.payload)
        data = {keys.data(content.upload, part.name) for part in content.parts}
        return {keys.blob(rest), keys.upload(content.upload)} | data
    if kind == "t":
        return {keys.mark(repository, cell.payload, rest)}
    return set()
