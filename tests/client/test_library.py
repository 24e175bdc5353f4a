"""The public library: under asyncio, and without a loop; both are one."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import threading
from pathlib import Path

import pytest

import wasmhold.client
from tests.wasm.binaries import MODULE
from wasmhold import sync
from wasmhold.client import Client, CopyFailed, PushFormat, Settings, What
from wasmhold.client.verbs import Verbs
from wasmhold.oci.errors import ManifestUnknown, TooLarge
from wasmhold.testing.covers import covers


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("app.wasm").write_bytes(MODULE)


def test_under_asyncio(host, here):
    async def work():
        events = []
        async with Client(listener=events.append) as client:
            pushed = await client.push(
                ["app.wasm"], f"{host}/aio/app:1", What(created="2024-01-02T03:04:05Z")
            )
            places = ["oci:layout:1", "oci-archive:a.tar:1", "store:store//x:1", f"{host}/aio/b:1"]
            copied = await asyncio.gather(
                *(client.copy(f"{host}/aio/app:1", place) for place in places)
            )
            assert {one.roots[0].digest for one in copied} == {pushed.manifest.digest}
            found = await asyncio.gather(*(client.resolve(place) for place in places))
            assert {one.digest for one in found} == {pushed.manifest.digest}
            await client.pull(places[1], "out.wasm")
            with pytest.raises(ManifestUnknown):
                await client.resolve(f"{host}/aio/app:none")
            async with client.open(places[0]) as repository:
                assert await repository.tags() == ["1"]
        assert events

    asyncio.run(work())
    assert Path("out.wasm").read_bytes() == MODULE


def test_a_task_that_is_cancelled_leaves_nothing(here):
    Path("big.bin").write_bytes(bytes(32 << 20))

    async def work():
        async with Client() as client:
            started = asyncio.Event()
            loop = asyncio.get_running_loop()
            client._listener = lambda event: loop.call_soon_threadsafe(started.set)
            task = asyncio.create_task(client.push(["big.bin"], "oci:layout:1"))
            await started.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(work())
    assert not list(Path().glob("layout/.wasmhold-*.part"))
    assert not Path("layout/index.json").exists()


def test_without_a_loop_from_several_threads(host, here):
    with sync.Client(Settings(default_registry=host)) as client:
        client.push(["app.wasm"], "sync/app:1")
        found = []
        threads = [
            threading.Thread(target=lambda: found.append(client.resolve("sync/app:1").digest))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8
        assert len(set(found)) == 1
        with pytest.raises(CopyFailed, match="has no manifest none"):
            client.pull("sync/app:none", "out.wasm")
        assert not Path("out.wasm").exists()


@covers("CW-109")
def test_the_bytes_of_a_module_by_one_call(host, here):
    with sync.Client() as client:
        client.push(["app.wasm"], f"{host}/fetch/app:1")
        client.push(["app.wasm"], f"{host}/fetch/old:1", What(format=PushFormat.WASM_TO_OCI))
        with pytest.raises(TooLarge):
            client.wasm(f"{host}/fetch/app:1", limit=len(MODULE) - 1)
    for reference in (
        f"oci://{host}/fetch/app:1",
        f"{host}/fetch/app:1",
        f"oci://{host}/fetch/old:1",
    ):
        assert sync.fetch_wasm(reference) == MODULE
    with pytest.raises(CopyFailed, match="has no manifest none"):
        sync.fetch_wasm(f"oci://{host}/fetch/app:none")


def test_both_have_every_verb_with_the_same_words():
    verbs = {
        name: verb
        for name, verb in vars(Verbs).items()
        if inspect.iscoroutinefunction(verb) and not name.startswith("_")
    }
    assert len(verbs) > 20
    for name, verb in verbs.items():
        blocking = getattr(sync.Client, name)
        assert not inspect.iscoroutinefunction(blocking)
        assert inspect.signature(blocking) == inspect.signature(verb)
        assert blocking.__doc__ == verb.__doc__
        assert verb.__doc__


def test_public_names_are_there():
    for name in wasmhold.client.__all__:
        assert getattr(wasmhold.client, name) is not None
    assert set(wasmhold.client._PLACES) == set(wasmhold.client.__all__)
    with pytest.raises(AttributeError):
        importlib.import_module("wasmhold.client").nothing  # noqa: B018
    assert Path(wasmhold.client.__file__).parent.with_name("py.typed").exists()


def test_a_client_ends_with_its_loop(here):
    async def made():
        return Client()

    client = asyncio.run(made())
    with pytest.raises(RuntimeError, match="an event loop that has ended"):
        asyncio.run(client.inspect_file("none.wasm"))
    client.close()
