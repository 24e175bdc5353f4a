"""A proxy in front of any registry over plain HTTP, which breaks what a test tells it to break.

    with Registry() as registry, Proxy(registry.host) as proxy:
        proxy.simulate("blob-get", "cut=1000:2")   # the next two downloads break there
        ...
        assert [p.fields.get("range") for p in proxy.passed("blob-get")] == [None, "bytes=1000-"]

What is broken where is chosen by `seed` alone, so a test that failed fails again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from random import Random
from typing import Final

from ..faults import Rules, kind_of, parse_rule
from ..oci.errors import WasmholdError
from ..protocol import Operation, Request, read
from ..protocol.messages import field
from ..servers.access_log import shown_target
from .background import Background
from .breaking import Broken, Exchange, Passed
from .effects import Effect, parse_effect
from .simulating import Simulating
from .wire import Head, read_head, request_line

_SECRET: Final = frozenset({"authorization", "proxy-authorization"})


class Proxy(Simulating[Effect]):
    """Passes everything on to a registry, and breaks what its rules meet.

    The effects of a rule are those of `wasmhold.testing.effects`.
    """

    def __init__(
        self, upstream: str, faults: Sequence[tuple[str, str]] = (), *, seed: int = 0
    ) -> None:
        """`upstream`: host and port of the registry.  `faults`: operation and error of each rule.

        Raises RequestInvalid, NameInvalid; ValueError for an upstream without a port.
        """
        rules = Rules(*(parse_rule(kind, error, parse_effect) for kind, error in faults))
        host, _, port = upstream.rpartition(":")
        self._upstream = host.strip("[]"), int(port)
        self._upstream_host = upstream
        self._random = Random(seed)  # noqa: S311
        self._passed: list[Passed] = []
        super().__init__(Background(), rules, parse_effect)
        self._background.serve(self._talk)

    def passed(self, kind: str | None = None) -> list[Passed]:
        """What has passed so far, in the order in which it came; that of one operation alone."""
        return [passed for passed in self._passed if kind in (None, passed.kind)]

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(Broken):
            while (head := await read_head(reader)) is not None:
                await self._exchange(head, reader, writer)

    async def _exchange(
        self, head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        method, target, _ = (part.decode("latin-1") for part in request_line(head))
        path, _, query = target.partition("?")
        operation = _operation(Request(method, path, query, head.fields))
        rule = None if operation is None else self._rules.find(operation)
        passed = Passed(
            method,
            shown_target(path, query),
            "-" if operation is None else kind_of(operation),
            dict(_shown(head)),
            None if rule is None else rule.text,
        )
        self._passed.append(passed)
        effect = None if rule is None else rule.action
        exchange = Exchange(head, effect, passed, reader, writer, self._random)
        host = field(head.fields, b"host") or self.host
        if not await exchange.break_off(operation, host, self._upstream_host):
            await exchange.pass_on(*await self._background.connect(*self._upstream))


def _operation(request: Request) -> Operation | None:
    try:
        return read(request)
    except WasmholdError:
        return None


def _shown(head: Head) -> Iterator[tuple[str, str]]:
    """The fields of a request; of credentials the scheme alone, of cookies nothing."""
    for key, value in head.fields:
        name, text = key.decode("latin-1"), value.decode("latin-1")
        if name in _SECRET:
            scheme, space, _ = text.partition(" ")
            text = scheme if space else ""
        if name != "cookie":
            yield name, text
