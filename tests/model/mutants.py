"""Each guard of the protocol, taken out of the product's source, and the search that notices.

A guard is a rule without which something is lost in some order of the requests.  `edits` are
texts of one module, each of which must be there exactly once, and what stands in their place.
`search` is the shortest that was found to catch the mutant: all orders of a scenario with so many
crashes, faults and switches between processes.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Orders:
    scenario: str
    crashes: int = 0
    faults: int = 0
    switches: int = 1
    last_first: bool = False
    forgets: bool = True
    page: int = 1000

    def __str__(self):
        more = [
            f"{self.crashes} crash" if self.crashes else "",
            f"{self.faults} fault" if self.faults else "",
            f"{self.switches} switch" if self.switches else "",
            "last strand first" if self.last_first else "",
            "" if self.forgets else "no delete-if-match",
            f"pages of {self.page}" if self.page < 1000 else "",
        ]
        return ", ".join([self.scenario, *filter(None, more)])


@dataclass(frozen=True)
class Mutant:
    module: str
    edits: tuple
    search: Orders


# fmt: off
MUTANTS = {
    # ---- cells
    "nonce": Mutant("cells", (
        ("        nonce = self.nonce()\n", '        nonce = "0"\n'),),
        Orders("retag and remove untagged")),
    "read-back": Mutant("cells", (
        ("            now = await self.read(key)\n            return now if now.etag is not None and now.nonce == nonce else None\n",
         "            return Cell(state, payload, None, nonce, content)\n"),),
        Orders("push and collect", faults=1, switches=0)),
    "rescue": Mutant("cells", (
        ("rescued = await self.rewrite(key, cell, LIVE)", "rescued = cell"),),
        Orders("reuse an old blob and collect")),
    "mark-fresh": Mutant("cells", (
        ("            old = await self.read(key)\n",
         "            old = await self.read(key)\n            if old.state == LIVE:\n                return old\n"),),
        Orders("delete and push a referrer")),
    "forget-if-match": Mutant("cells", (
        ("await self.bucket.remove(key, etag)", "await self.bucket.delete(key)"),),
        Orders("upload what is being collected")),
    # ---- uploads
    "blob-before-session": Mutant("uploads", (
        ("            # Committed before: by another replica",
         "            blob = await cells.first(blob_key, GONE)\n            # Committed before: by another replica"),),
        Orders("push and collect")),
    "session-again": Mutant("uploads", (
        ("                cell = await cells.read(key)  # as it is now", "                pass  # as it is now"),),
        Orders("a commit left half way", last_first=True)),
    "stub": Mutant("uploads", (
        ("lambda: cells.first(blob_key, GONE),", "lambda: cells.read(blob_key),"),),
        Orders("push and collect")),
    "link-pending": Mutant("uploads", (
        ("lambda: cells.first(link_key, PENDING),", "lambda: cells.read(link_key),"),
        ("            if link.state == GONE:\n", "            if False:\n")),
        Orders("push and collect")),
    "blob-recheck": Mutant("uploads", (
        ("live = await self._cells.set_live(key)", "live = blob"),),
        Orders("mount at the last moment")),
    "session-fence": Mutant("uploads", (
        ("            cell = await self._cells.rewrite(key, cell, CLOSING)\n", "            pass\n"),
        ("        if cell is None or cell.state != CLOSING:\n",
         "        if cell is None or cell.state not in (OPEN, COMMITTING, CLOSING):\n")),
        Orders("final PUT and collect")),
    "blob-bump": Mutant("uploads", (
        ("if blob.etag is None or await self._cells.write(blob_key, blob, GONE):", "if True:"),),
        Orders("a commit left half way", forgets=False)),
    "append-late": Mutant("uploads", (
        ("            if now.etag != cell.etag:\n", "            if True:\n"),),
        Orders("append, and go on elsewhere", faults=1, switches=0)),
    # ---- blobs
    "mount-pending": Mutant("blobs", (
        ("lambda: cells.first(link_key, PENDING)]", "lambda: cells.read(link_key)]"),
        ("            if link.state == GONE:\n", "            if False:\n")),
        Orders("mount at the last moment")),
    "mount-check": Mutant("blobs", (
        ("blob = await cells.set_live(blob_key)", "blob = theirs"),),
        Orders("mount at the last moment")),
    "delete-doom": Mutant("blobs", (
        ("            if link.state == LIVE:\n                doomed", "            if False:\n                doomed"),),
        Orders("delete a blob and push")),
    # ---- manifests and tags
    "manifest-pending": Mutant("manifests", (
        ("await cells.at_once(key, PENDING, put.payload", "await cells.at_once(key, LIVE, put.payload"),
        ("            if cell is not None and cell.state in (LIVE, PENDING):\n                return cell\n",
         "            if cell is not None and cell.state in (LIVE, PENDING):\n                return cell._replace(state=PENDING)\n"),
        ("state = LIVE if cell.state == DOOMED else PENDING", "state = LIVE")),
        Orders("push and collect")),
    "manifest-recheck": Mutant("manifests", (
        ("return bool(await self._cells.set_live(put.key))", "return True"),),
        Orders("retag and remove untagged")),
    "tag-stub": Mutant("manifests", (
        ("partial(self._cells.at_once, keys.tag(put.name, tag), GONE)", "partial(self._cells.read, keys.tag(put.name, tag))"),),
        Orders("index and remove untagged")),
    "tag-before-mark": Mutant("manifests", (
        ("                await self._mark_and_check(put, cell)\n",
         "                await self._mark_and_check(put, cell)\n"
         "                for tag in put.waiting:\n"
         "                    put.cells[tag] = await self._cells.at_once(keys.tag(name, tag), GONE)\n"),),
        Orders("retag and remove untagged", crashes=1)),
    "tag-compare": Mutant("manifests", (
        ("            return await self._cells.write(key, put.cells[tag], LIVE, put.digest)\n",
         "            return await self._cells.write(key, await self._cells.read(key), LIVE, put.digest)\n"),),
        Orders("retag and remove untagged")),
    "tag-bump": Mutant("tags", (
        ("        if not await self._cells.rewrite(keys.tag(name, tag), cell, cell.state):\n            return True\n", ""),),
        Orders("retag and remove untagged")),
    "delete-insists": Mutant("manifests", (
        ("cell = now if now.etag == cell.etag else None", "cell = None"),),
        Orders("a delete, and a push by digest", faults=1)),
    "name-rescue": Mutant("manifests", (
        ("            cell = await self._cells.read(key)\n            if cell.state == LIVE:\n",
         "            cell = await self._cells.read(key)\n            if cell.there:\n"),),
        Orders("an empty repository comes back")),
    "name-after-manifest": Mutant("manifests", (
        ("            cell = await self._claim_and_read(put)\n",
         "            await self._name_live(name)\n            cell = await self._claim_and_read(put)\n"),
        ("            jobs.append(partial(self._name_live, name))\n", "            pass\n")),
        Orders("an empty repository comes back")),
    # ---- referrers
    "tag-mark-fresh": Mutant("manifests", (
        ("partial(cells.mark, keys.mark(name, put.digest, tag))", "partial(_mark_once, cells, keys.mark(name, put.digest, tag))"),
        ("@dataclass(slots=True)\nclass _Put:",
         "async def _mark_once(cells, key):\n"
         "    cell = await cells.read(key)\n"
         "    return cell if cell.state == LIVE else await cells.mark(key)\n\n\n"
         "@dataclass(slots=True)\nclass _Put:")),
        Orders("retag and remove untagged", crashes=1)),
    "referrer-fresh": Mutant("manifests", (
        ("partial(cells.mark, mark)", "partial(_mark_once, cells, mark)"),
        ("@dataclass(slots=True)\nclass _Put:",
         "async def _mark_once(cells, key):\n"
         "    cell = await cells.read(key)\n"
         "    return cell if cell.state == LIVE else await cells.mark(key)\n\n\n"
         "@dataclass(slots=True)\nclass _Put:")),
        Orders("delete and push a referrer")),
    "referrer-order": Mutant("referrers", (
        ("            mark = await self._cells.read(key)\n",
         "            manifest = await self._cells.read(keys.manifest(name, digest))\n            mark = await self._cells.read(key)\n"),
        ("                return False\n            manifest = await self._cells.read(keys.manifest(name, digest))\n",
         "                return False\n")),
        Orders("delete and push a referrer")),
    "referrer-keeps": Mutant("collect", (
        ('        kept |= {keys.last(mark.key) for mark in of["r"] if _live(mark)}\n', ""),),
        Orders("subject and remove untagged")),
    # ---- collection
    "pending-counts": Mutant("manifests", (
        ("REFERS: Final = (PENDING, LIVE, DOOMED)", "REFERS: Final = (LIVE, DOOMED)"),),
        Orders("delete a blob and push")),
    "doomed-counts": Mutant("manifests", (
        ("REFERS: Final = (PENDING, LIVE, DOOMED)", "REFERS: Final = (PENDING, LIVE)"),),
        Orders("a link is doomed for a moment")),
    "list-order": Mutant("collect", (
        ("        self._blobs = await self._targets(keys.BLOBS, keys.last)\n", "        repositories = [r async for r in self._repositories()]\n        self._blobs = await self._targets(keys.BLOBS, keys.last)\n"),
        ("        async for repository in self._repositories():\n", "        for repository in repositories:\n")),
        Orders("a blob is doomed at a bad moment")),
    "manifests-again": Mutant("collect", (
        ("        if self._untagged:\n", "        if False:\n"),),
        Orders("a manifest is doomed at a bad moment", page=2)),
    "listed-etag": Mutant("collect", (
        ("        if cell.etag != entry.etag:\n", "        if False:\n"),),
        Orders("reuse an old blob and collect")),
    "two-rounds": Mutant("collect", (
        ("            await self._cells.rewrite(key, cell, DOOMED)\n",
         "            doomed = await self._cells.rewrite(key, cell, DOOMED)\n"
         "            if doomed and end == GONE:\n"
         "                await self._cells.write(key, doomed, GONE)\n"),),
        Orders("reuse an old blob and collect")),
    "stray-check": Mutant("collect", (
        ("        if (await self._cells.read(keys.upload(upload))).etag is None:\n", "        if True:\n"),),
        Orders("bytes without a session", page=2)),
}
# fmt: on
