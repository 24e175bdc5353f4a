"""`Files` that write down every call, and can break at any of them."""

from wasmhold.oci.errors import StoreUnavailable


class Recording:
    """Every call of `files` by name and path; the one with the number `breaks_at` raises `error`.

    A call that breaks has had no effect, or with `late` its whole effect.
    """

    def __init__(self, files):
        self.files = files
        self.calls = []
        self.breaks_at, self.error, self.late = None, StoreUnavailable, False

    def __getattr__(self, kind):
        call = getattr(self.files, kind)
        if kind in ("close", "unlock"):
            return call

        async def recorded(*arguments, **more):
            path = arguments[-1] if kind in ("link", "rename", "symlink", "copy") else arguments[0]
            self.calls.append((kind, path))
            broken = len(self.calls) == self.breaks_at
            if broken and not self.late:
                raise self.error(f"{kind} {path}")
            result = await call(*arguments, **more)
            if broken:
                if kind == "lock" and result is not None:
                    await self.files.unlock(result)
                raise self.error(f"{kind} {path}")
            return Writer(self, path, result) if kind == "open_write" else result

        return recorded


class Writer:
    def __init__(self, recording, path, writer):
        self._recording, self._path, self._writer = recording, path, writer
        self.truncate, self.close = writer.truncate, writer.close

    async def write(self, *chunks, hasher=None):
        recording, piece = self._recording, b"".join(chunks)
        recording.calls.append(("append", self._path))
        if len(recording.calls) == recording.breaks_at:
            await self._writer.write(piece[: len(piece) // 2])
            raise recording.error(f"append {self._path}")
        await self._writer.write(piece, hasher=hasher)
