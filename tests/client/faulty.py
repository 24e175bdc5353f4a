"""A place that breaks at one of its calls, or inside a body."""

from wasmhold.oci.errors import OutOfSpace
from wasmhold.ports.body import Body


class Faulty:
    """`place`, whose call with the number `breaks_at` raises `error`; `late`: after its effect.

    Opening a body and each of its chunks are calls too.
    """

    def __init__(self, place, breaks_at=None, error=lambda: OutOfSpace("simulated"), late=False):
        self._place = place
        self._breaks_at, self._error, self._late = breaks_at, error, late
        self.place = place.place
        self.calls = []

    def step(self, name):
        """Count a call; whether it breaks."""
        self.calls.append(name)
        return len(self.calls) == self._breaks_at

    def __getattr__(self, name):
        call = getattr(self._place, name)

        async def counted(*arguments, **more):
            broken = self.step(name)
            if broken and not self._late:
                raise self._error()
            result = await call(*arguments, **more)
            if broken:
                if name == "blob_open":
                    await result.aclose()
                raise self._error()
            return FaultyBody(self, result) if name == "blob_open" else result

        return counted


class FaultyBody:
    file = None

    def __init__(self, place: Faulty, body: Body) -> None:
        self.size = body.size
        self._place, self._body = place, body

    async def __aiter__(self):
        async for chunk in self._body:
            if self._place.step("chunk"):
                yield chunk[: len(chunk) // 2]
                raise self._place._error()
            yield chunk

    async def aclose(self):
        await self._body.aclose()
