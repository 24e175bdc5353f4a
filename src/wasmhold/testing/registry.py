"""A registry for tests, in the test's own process: it answers when its constructor returns.

    with Registry() as registry:
        subprocess.run(["oras", "push", "--plain-http", f"{registry.host}/demo/app:v1", "app.wasm"])

It is the application that `wasmhold serve` runs, from the reading of a request's head on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from os import PathLike
from typing import Final, TypedDict, Unpack

from ..auth.guard import Guard
from ..faults import Action, Faults, parse_action
from ..oci.errors import InputError
from ..ports.body import BytesBody
from ..ports.store import Store
from ..protocol import Request, Response, write_error
from ..protocol.errors import JSON
from ..registry import Registry as Core
from ..registry import Settings
from ..servers.answer import Answer, Send
from ..servers.application import Application
from ..servers.asgi import SEND_IDLE_S, AsyncioRuntime, Edge, SystemRandomness
from ..servers.request_body import Receive, RequestBody, Scope, framing
from ..stores.directory.flock import flock
from ..stores.directory.native import NativeFiles
from ..stores.directory.root import enter
from ..stores.directory.store import DirectoryStore
from ..stores.memory import MemoryStore
from .asgi_server import AsgiServer
from .background import Background
from .logins import TOKENS, Mode, Modes
from .simulating import Simulating, described

SIMULATIONS: Final = "/_test/simulations"


class Options(TypedDict, total=False):
    """What a registry may be told.

    settings   the rules of `serve`
    auth       a mode of `wasmhold.testing.logins.Modes`; ``none`` unless it is said
    users      name to password; ``test`` and ``test`` unless they are given
    readers    those of them who may only read
    faults     operation and error of each rule
    warnings   texts that every answer carries
    """

    settings: Settings
    auth: Mode
    users: Mapping[str, str]
    readers: Collection[str]
    faults: Sequence[tuple[str, str]]
    warnings: Sequence[str]


class AsgiRegistry:
    """The registry as an ASGI application, for clients that can do without a socket.

    Two paths are no registry's: simulated failures are set at `SIMULATIONS`, tokens are given at
    ``/token``.  What is called beside requests is called in the thread whose loop runs it.
    """

    def __init__(
        self,
        store: Store | None = None,
        *,
        url: str = "http://localhost",
        **options: Unpack[Options],
    ) -> None:
        """`store` None: in memory.  `url`: where clients find it.

        Raises RequestInvalid, NameInvalid for faults; ValueError for `auth` and `warnings`.
        """
        runtime = AsyncioRuntime()
        self.faults = Faults()
        for kind, error in options.get("faults", ()):
            self.faults.simulate(kind, error)
        self.logins = Modes(
            options.get("auth", "none"),
            options.get("users", {"test": "test"}),
            options.get("readers", ()),
            runtime,
            url,
        )
        application = Application(
            Core(store or MemoryStore(runtime, SystemRandomness()), options.get("settings")),
            guard=Guard(self.logins),
            faults=self.faults,
            warnings=options.get("warnings", ()),
        )
        self._edge = Edge(application)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("raw_path", b"").decode("latin-1")
        if path not in (TOKENS, SIMULATIONS):
            await self._edge(scope, receive, send)
            return
        request = Request(
            scope["method"], path, scope["query_string"].decode("latin-1"), scope["headers"]
        )
        body = RequestBody(receive, framing(scope, request.fields)[1], SEND_IDLE_S)
        content = b"".join([chunk async for chunk in body])
        if path == TOKENS:
            response = _json(*self.logins.tokens.answer(request, content))
        else:
            response = self._simulations(request.method, content)
        await Answer(response, send, SEND_IDLE_S).send()

    def _simulations(self, method: str, content: bytes) -> Response:
        try:
            if method == "POST":
                rule = json.loads(content)
                self.faults.simulate(rule["operation"], rule["error"])
            elif method == "DELETE":
                self.faults.clear()
        except InputError as error:
            return write_error(error)
        except (ValueError, TypeError, KeyError):
            return _json(400, {"message": 'want {"operation": "blob-get", "error": "503:2"}'})
        return _json(200, described(self.faults))


def _json(status: int, document: object) -> Response:
    content = json.dumps(document).encode()
    fields = [JSON, (b"content-length", b"%d" % len(content))]
    return Response(status, fields, BytesBody(content))


class Registry(Simulating[Action]):
    """An `AsgiRegistry` on a free port of loopback, in a thread of its own."""

    def __init__(self, root: str | PathLike[str] | None = None, **options: Unpack[Options]) -> None:
        """`root`: a directory that keeps the content, which must be there; None: in memory.

        Raises what `AsgiRegistry` does; StoreUnavailable.
        """
        background = Background()
        self._leave: Callable[[], None] = lambda: None
        try:
            store = None if root is None else self._open(background, str(root))
            self._served = AsgiRegistry(store, url=f"http://{background.host}", **options)
            self._server = AsgiServer(self._served)
            background.run(self._server.start())
            background.serve(self._server.talk)
        except BaseException:
            background.close()
            self._leave()
            raise
        super().__init__(background, self._served.faults, parse_action)

    def _open(self, background: Background, root: str) -> Store:
        runtime, randomness = AsyncioRuntime(), SystemRandomness()
        # It is for tests: nobody cuts the power.
        files = NativeFiles(root, runtime, locks=flock, durable=False)
        self._leave = files.close
        entered = background.run(enter(files, randomness))
        return DirectoryStore(files, runtime, randomness, entered)

    @property
    def auth(self) -> Mode:
        """Who may do what: a mode of `wasmhold.testing.logins.Modes`; a test may change it."""
        return self._served.logins.mode

    @auth.setter
    def auth(self, mode: Mode) -> None:
        self._background.call(setattr, self._served.logins, "mode", mode)

    def identity_token(self, user: str) -> str:
        """What docker keeps as ``identitytoken``: with it a client gets tokens in ``bearer``."""
        return self._background.call(self._served.logins.tokens.identity, user)

    def forget_tokens(self) -> None:
        """No token that was given so far is taken any more."""
        self._background.call(self._served.logins.tokens.forget)

    def close(self) -> None:
        if self._background.is_open:
            self._background.run(self._server.stop())
            super().close()
            self._leave()
