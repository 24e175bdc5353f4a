"""What a puller has done so far, in numbers."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

from ..client.transport import Answer, Readable, Transport
from ..protocol.messages import Fields
from .policy import Source


class Stats:
    """Counts from when the puller was made, over all its copies.

    requests             that were sent, each try of its own
    bytes_in, bytes_out  of bodies
    retries              that followed what failed and may heal
    hits, misses         how often each place had what it was asked for
    """

    def __init__(self) -> None:
        self.requests = self.bytes_in = self.bytes_out = self.retries = 0
        self.hits: Counter[Source] = Counter()
        self.misses: Counter[Source] = Counter()
        self._lock = threading.Lock()

    def count(
        self, *, requests: int = 0, bytes_in: int = 0, bytes_out: int = 0, retries: int = 0
    ) -> None:
        with self._lock:
            self.requests += requests
            self.bytes_in += bytes_in
            self.bytes_out += bytes_out
            self.retries += retries

    def asked(self, source: Source, *, hit: bool) -> None:
        with self._lock:
            (self.hits if hit else self.misses)[source] += 1

    def __repr__(self) -> str:
        return (
            f"Stats(requests={self.requests}, bytes_in={self.bytes_in}, "
            f"bytes_out={self.bytes_out}, retries={self.retries}, "
            f"hits={_named(self.hits)}, misses={_named(self.misses)})"
        )


def _named(counts: Counter[Source]) -> dict[str, int]:
    return {source.value: count for source, count in counts.items()}


class CountedTransport:
    """`client.transport.Transport` that counts what goes through it."""

    def __init__(self, transport: Transport, stats: Stats) -> None:
        self._transport, self._stats = transport, stats

    def request(
        self,
        method: str,
        url: str,
        fields: Fields = (),
        body: Iterable[bytes] | None = None,
        *,
        follow: bool = False,
    ) -> Answer:
        self._stats.count(requests=1)
        sent = None if body is None else self._sent(body)
        answer = self._transport.request(method, url, fields, sent, follow=follow)
        return replace(answer, body=_Counted(answer.body, self._stats))

    def _sent(self, body: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in body:
            self._stats.count(bytes_out=len(chunk))
            yield chunk

    def speaks_tls(self, host: str, port: int) -> bool:
        return self._transport.speaks_tls(host, port)

    def close(self) -> None:
        self._transport.close()


class _Counted:
    def __init__(self, body: Readable, stats: Stats) -> None:
        self._body, self._stats = body, stats

    def read(self, size: int) -> bytes:
        piece = self._body.read(size)
        self._stats.count(bytes_in=len(piece))
        return piece

    def close(self) -> None:
        self._body.close()
