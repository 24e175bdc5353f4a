"""Each guard of the directory store, taken out of the product's source, and what notices.

A guard is a rule without which something is lost in some order of the calls, or after a power loss.
`edits` are texts of one module, each of which must be there exactly once, and what stands in their
place.  `search` is a scenario, with so many kills, in which the mutant is caught.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Search:
    scenario: str
    kills: int = 0
    switches: int = 1

    def __str__(self):
        return f"{self.scenario}, {self.kills} kills, {self.switches} switches"


@dataclass(frozen=True)
class Mutant:
    module: str
    edits: tuple
    search: Search


# fmt: off
MUTANTS = {
    # ---- what is durable before it is seen
    "sync-file": Mutant("uploads", (
        ("            await self._files.sync(data)\n", ""),),
        Search("push a blob, a manifest, a tag")),
    "sync-manifest-file": Mutant("manifests", (
        ("            await self._files.sync(tmp)\n", ""),),
        Search("push a blob, a manifest, a tag")),
    "sync-blobs": Mutant("manifests", (
        ("                    await self._disk.sync(*folders)  # its own name and its children's\n", ""),),
        Search("refer to an old blob, collect")),
    "sync-children": Mutant("manifests", (
        ("folder = of.manifests\n                there", "folder = of.blobs\n                there"),),
        Search("an index of what is being pushed")),
    "sync-manifests": Mutant("manifests", (
        ("                await self._disk.note(stored.media_type, referrer)\n        await self._disk.sync(*folders)\n",
         "                await self._disk.note(stored.media_type, referrer)\n"),),
        Search("push a blob, a manifest, a tag")),
    "sync-tags": Mutant("tags", (
        ("                await self._files.unlink(tmp)\n        await self._disk.sync(of.tags)\n",
         "                await self._files.unlink(tmp)\n"),),
        Search("push a blob, a manifest, a tag")),
    "sync-untag": Mutant("manifests", (
        ("        await self._disk.sync(of.tags)\n", ""),),
        Search("delete and collect")),
    "sync-deleted": Mutant("manifests", (
        ("            folders.append(folder)\n        await self._disk.sync(*folders)\n",
         "            folders.append(folder)\n"),
        ),
        Search("delete and collect")),
    "sync-removals": Mutant("collect", (
        ("            await self._disk.sync(of.manifests)\n", ""),),
        Search("delete and collect", kills=1)),
    "sync-removals-blob": Mutant("blobs", (
        ("                await self._disk.sync(of.manifests)\n", ""),),
        Search("delete a manifest, then its blob", kills=1)),
    "link-before-sync": Mutant("disk", (
        ("            await self.files.sync_folder(folder)\n            line.done = number\n",
         "            line.done = number\n"),),
        Search("push a blob, a manifest, a tag")),
    # ---- locks
    "lock-put": Mutant("manifests", (
        ("            async with self._disk.locked(of.lock, exclusive=False):\n", "            if True:\n"),),
        Search("refer to an old blob, collect")),
    "lock-collect": Mutant("collect", (
        ("        async with self._disk.locked(of.lock, exclusive=True):\n            used",
         "        if True:\n            used"),),
        Search("refer to an old blob, collect", switches=2)),
    "lock-delete": Mutant("manifests", (
        ("            async with self._disk.locked(of.lock, exclusive=True):\n", "            if True:\n"),),
        Search("delete and push the same")),
    "lock-retention": Mutant("collect", (
        ("            async with self._disk.locked(of.lock, exclusive=True):\n", "            if True:\n"),),
        Search("tag an old manifest, retention", switches=2)),
    "lock-blob-delete": Mutant("blobs", (
        ("            async with self._disk.locked(of.lock, exclusive=True):\n", "            if True:\n"),),
        Search("delete a blob, refer to it", switches=2)),
    "lock-tags": Mutant("tags", (
        ("            async with self._disk.locked(of.tags_lock, exclusive=True):\n                await self.ask(of, tags, guard)\n",
         "            if True:\n                await self.ask(of, tags, guard)\n"),),
        Search("two conditional pushes", switches=2)),
    "guard-again": Mutant("tags", (
        ("                await self.ask(of, tags, guard)\n                for tag in tags:\n",
         "                for tag in tags:\n"),),
        Search("two conditional pushes")),
    "frozen-append": Mutant("uploads", (
        ("        if data.links > 1:\n            raise UploadUnknown(found.repository, session)\n", ""),),
        Search("a commit, and an append", kills=1)),
    "frozen-commit": Mutant("uploads", (
        ("        if before.links > 1:", "        if False:"),
        ("        if data.links > 1:\n            raise UploadUnknown(found.repository, session)\n", "")),
        Search("a commit, and another one with more", kills=1)),
    "same-entry": Mutant("disk", (
        ("self._durable.get(path) == (found.inode, found.changed_ns)",
         "self._durable.get(path) is not None"),),
        Search("tag again, delete and push", switches=2)),
    # ---- looking again
    "again": Mutant("collect", (
        ("            used = await self._manifests.used_again(of, used)\n", ""),),
        Search("refer to an old blob, collect")),
    "again-tags": Mutant("tags", (
        ("            if folder is not None and _time(folder) == _time(before.folder):\n", "            if folder is not None:\n"),),
        Search("push and delete the same")),
    "again-untagged": Mutant("collect", (
        ("        while await self._untagged_in(of):", "        while untagged := await self._untagged_in(of):"),
        ("                untagged = await self._untagged_in(of)\n", ""),),
        Search("tag an old manifest, retention")),
    "again-blob": Mutant("blobs", (
        ("                if digest in (await self._manifests.used_again(of, used)).digests:\n", "                if False:\n"),),
        Search("delete a blob, refer to it", switches=1)),
    "children-keep": Mutant("collect", (
        ("            kept |= {*await self._manifests.references(of, digest, media_type)}\n",
         "            pass\n"),),
        Search("an index of an old manifest, retention")),
    "children-first": Mutant("manifests", (
        ("                    folders |= await self._check_children(of, manifest, sparse=sparse)\n", "                    pass\n"),),
        Search("push over an old blob, collect")),
}
# fmt: on
