"""One copy by the library, for `client.py`: HOST/NAME:TAG or oci:DIR:TAG, twice."""

from __future__ import annotations

import sys

from wasmhold.client.copy import copy
from wasmhold.client.network import Network
from wasmhold.client.places.layout import open_layout
from wasmhold.client.places.remote import RemoteRepository
from wasmhold.client.runtime import ThreadRuntime
from wasmhold.client.transport import HttpTransport
from wasmhold.ports.repository import Repository
from wasmhold.ports.runtime import run


class Randomness:
    def token(self, size: int) -> bytes:
        return bytes(size)  # for pauses behind failures alone


def place(text: str, network: Network) -> tuple[Repository, str]:
    where, _, tag = text.rpartition(":")
    if where.startswith("oci:"):
        return open_layout(where.removeprefix("oci:"), network.runtime), tag
    host, _, name = where.partition("/")
    return RemoteRepository(network, host, name), tag


def main(source: str, destination: str) -> None:
    runtime = ThreadRuntime()
    network = Network(HttpTransport(), runtime, Randomness(), print)
    (here, tag), (there, new) = place(source, network), place(destination, network)
    run(copy(here, tag, there, [new], runtime=runtime))


if __name__ == "__main__":
    main(*sys.argv[1:])
