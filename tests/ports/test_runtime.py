from __future__ import annotations

import asyncio
import threading
import time

import pytest

from wasmhold.ports.runtime import Inline, obtained, run
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


def test_a_gate_lets_all_pass_once_it_is_open():
    async def main(runtime):
        gate, passed = runtime.gate(), []

        async def wait(number):
            await gate.wait()
            passed.append(number)

        waiting = [asyncio.create_task(wait(i)) for i in range(3)]
        await asyncio.sleep(0)
        assert passed == []
        gate.open()
        await asyncio.gather(*waiting)
        await gate.wait()
        return passed

    assert asyncio.run(main(AsyncioRuntime())) == [0, 1, 2]
    inline = Inline(lambda: 7.0, lambda seconds: None).gate()
    with pytest.raises(AssertionError, match="nobody"):
        run(inline.wait())
    inline.open()
    run(inline.wait())


def test_who_is_cancelled_waits_for_the_thread():
    steps = []
    enter, leave = threading.Event(), threading.Event()

    def slow():
        enter.set()
        leave.wait(10)
        steps.append("thread")
        raise ValueError("nobody hears it")

    async def main():
        async def caller():
            try:
                await AsyncioRuntime().offload(slow)
            finally:
                steps.append("caller")

        task = asyncio.create_task(caller())
        await asyncio.to_thread(enter.wait, 10)
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0)
        leave.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert steps == ["thread", "caller"]


class Gone(Inline):
    """Who waits for a thread is cancelled meanwhile."""

    async def offload(self, function, /, *arguments):
        function(*arguments)
        raise KeyboardInterrupt


def test_what_nobody_gets_is_taken_back():
    released = []
    assert run(obtained(Inline(time.time, time.sleep), lambda: "file", released.append)) == "file"
    assert released == []
    with pytest.raises(KeyboardInterrupt):
        run(obtained(Gone(time.time, time.sleep), lambda: "file", released.append))
    assert released == ["file"]
    with pytest.raises(ZeroDivisionError):
        run(obtained(Inline(time.time, time.sleep), lambda: 1 / 0, released.append))
    assert released == ["file"]
