from __future__ import annotations

import asyncio
import threading

import pytest

from wasmhold.ports.runtime import Inline, run
from wasmhold.servers.asgi import AsyncioRuntime, SystemRandomness
from wasmhold.testing.covers import covers


async def double(number: int) -> int:
    return 2 * number


async def work(runtime):
    doubled = await runtime.map(double, [1, 2, 3], 2)
    await runtime.sleep(0)
    return doubled, await runtime.offload(threading.get_ident), runtime.now()


@covers("BR-019", "BR-106")
def test_both_runtimes_do_the_same():
    slept = []
    inline = run(work(Inline(lambda: 7.0, slept.append)))
    assert inline == ([2, 4, 6], threading.get_ident(), 7.0)
    assert slept == [0]
    under_a_loop = asyncio.run(work(AsyncioRuntime()))
    assert under_a_loop[0] == [2, 4, 6]
    # What computes for long disturbs nobody: another thread does it.
    assert under_a_loop[1] != threading.get_ident()


def test_the_core_awaits_only_its_ports():
    async def wrong():
        await asyncio.sleep(1)

    async def breaks():
        raise KeyError("x")

    with pytest.raises((AssertionError, RuntimeError)):
        run(wrong())
    with pytest.raises(KeyError):
        run(breaks())


def test_what_a_port_suspends_is_found():
    class Forever:
        def __await__(self):
            yield

    async def waits():
        await Forever()

    with pytest.raises(AssertionError, match="no port gave it"):
        run(waits())


def test_randomness_never_comes_twice():
    randomness = SystemRandomness()
    assert len({randomness.token(16) for _ in range(1000)}) == 1000
