"""What must hold after every change, whether or not the power fails then."""

from __future__ import annotations

from wasmhold.oci.digest import Digest
from wasmhold.oci.manifest import parse_manifest
from wasmhold.stores.directory import paths

from .content import named


class Violation(Exception):
    pass


_CHILDREN = {}


def children(content):
    found = _CHILDREN.get(content)
    if found is None:
        manifest = parse_manifest(content)
        found = [child.digest for child in manifest.children]
        _CHILDREN[content] = found
    return found


_DIGESTS = {}


def hashes_to(content, digest):
    if content is None:
        return False
    if content not in _DIGESTS:
        _DIGESTS[content] = Digest.of(content).encoded
    return _DIGESTS[content] == digest


def check(state, world, when):
    """`state`: (kind, content) of every name that others see."""

    def fail(text):
        raise Violation(named(f"{text} {when}"))

    scenario = world.scenario
    for path, (kind, content) in state.items():
        repository, _, rest = path.partition("/")
        if kind == "folder":
            continue
        if "/blobs/" in path and not hashes_to(content, path.rpartition("/")[2]):
            fail(f"{path} may be half written")
        if rest.startswith(".wasmhold/manifests/"):
            digest = path.rpartition(":")[2]
            blob = state.get(f"{repository}/blobs/sha256/{digest}")
            if blob is None:
                fail(f"{path} is there, its blob is not")
            for child in children(blob[1]):
                if f"{repository}/blobs/sha256/{child.encoded}" not in state:
                    fail(f"{path} is there, {child} is not")
                manifest = f"{repository}/.wasmhold/manifests/{child}"
                is_one = child in scenario.children
                if is_one and not scenario.deletes and manifest not in state:
                    fail(f"{path} is there, the manifest {child} is not")
        if rest.startswith(".wasmhold/tags/"):
            target = f"{repository}/.wasmhold/manifests/{paths.read_short(content)}"
            if target not in state:
                fail(f"{path} points to {paths.read_short(content)}, which is not there")
    acknowledged = {entry[1] for entry in world.log if entry[0] == "ack"}
    for entry in world.log:
        if entry[0] != "begin" or entry[1] not in acknowledged:
            continue
        _, _, what, repository, name, *more = entry
        if what == "delete" and f"{repository}/.wasmhold/{name}" in state:
            fail(f"{name} is there again")
        if scenario.deletes:
            continue
        manifest = f"{repository}/.wasmhold/manifests/{name}"
        if what == "manifest" and not scenario.untagged and manifest not in state:
            fail(f"the acknowledged manifest {name} is missing")
        if what == "tag":
            tag = state.get(f"{repository}/.wasmhold/tags/{name}")
            if tag is None or (scenario.single and paths.read_short(tag[1]) != more[0]):
                fail(f"the acknowledged tag {name} is wrong")
        if what == "once":
            winners = [e for e in world.log if e[0] == "begin" and e[2] == what]
            if len([e for e in winners if e[1] in acknowledged]) > 1:
                fail("both of two conditional pushes succeeded")


def check_no_garbage(names):
    needed = set()
    for path in names:
        if "/.wasmhold/manifests/" in path:
            repository, digest = path.partition("/")[0], path.rpartition(":")[2]
            blob = f"{repository}/blobs/sha256/{digest}"
            needed |= {blob}
            needed |= {
                f"{repository}/blobs/sha256/{child.encoded}"
                for child in children(names[blob].content)
            }
    there = {p for p, i in names.items() if "/blobs/sha256/" in p and i.kind == "file"}
    if there != needed:
        raise Violation(named(f"garbage stays, or is missing: {sorted(there ^ needed)}"))
    pooled = {p.rpartition("/")[2] for p, i in names.items() if "/pool/" in p and i.kind == "file"}
    if pooled - {path.rpartition("/")[2] for path in needed}:
        raise Violation("garbage stays in the pool")
