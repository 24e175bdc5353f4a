"""The registry in a Wasm guest without WASI: one function, a request in and a response out."""

from __future__ import annotations

import wit_world

from wasmhold.ports.body import BytesBody, read_all
from wasmhold.ports.runtime import Inline, run
from wasmhold.protocol import Request
from wasmhold.registry import Registry
from wasmhold.servers.application import Application
from wasmhold.stores.memory import MemoryStore


class Counter:
    """A guest without WASI has no randomness; here nobody guesses."""

    def __init__(self) -> None:
        self._count = 0

    def token(self, size: int) -> bytes:
        self._count += 1
        return self._count.to_bytes(size, "big")


STORE = MemoryStore(Inline(lambda: 0.0, lambda seconds: None), Counter())
APPLICATION = Application(Registry(STORE))


class WitWorld(wit_world.WitWorld):
    def handle(self, method, path, query, fields, body):
        async def talk():
            request = Request(method, path, query, [(k.encode(), v.encode()) for k, v in fields])
            response, _, _ = await APPLICATION.handle(request, BytesBody(bytes(body)))
            content = b"" if response.body is None else await read_all(response.body)
            head = [(key.decode(), value.decode("latin-1")) for key, value in response.fields]
            return response.status, head, content

        return run(talk())
