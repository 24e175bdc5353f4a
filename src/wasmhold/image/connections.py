"""What a puller and its copies share: a runtime, connections, logins, and counts of all of it."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from functools import cached_property
from typing import Final

from ..client.credentials import Auth, Given
from ..client.opening import Opener
from ..client.places.remote import RemoteRepository
from ..client.settings import Settings
from ..ports.runtime import ClientRuntime
from .events import Warned
from .stats import CountedTransport, Stats

REST_S: Final = 30.0
_KEPT: Final = 256  # repositories whose logins are remembered


class Connections:
    """Nothing is made before it is needed: a puller may be made outside of the loop that runs it.

    `warnings` are what was said and not told yet.
    """

    def __init__(self, settings: Settings, new_runtime: Callable[[], ClientRuntime]) -> None:
        self.settings, self.stats = settings, Stats()
        self.warnings: deque[Warned] = deque()
        self._new_runtime = new_runtime
        self._rests_until: dict[str, float] = {}
        self._repositories: OrderedDict[tuple[str, str, Auth | None, bool], RemoteRepository]
        self._repositories = OrderedDict()

    @cached_property
    def runtime(self) -> ClientRuntime:
        return self._new_runtime()

    @cached_property
    def opener(self) -> Opener:
        opener = Opener(self.settings, self.runtime, self._warn)
        opener.transport = CountedTransport(opener.transport, self.stats)
        opener.outside = CountedTransport(opener.outside, self.stats)
        return opener

    def _warn(self, text: str) -> None:
        self.warnings.append(Warned("client", text))

    def repository(
        self, host: str, name: str, auth: Auth | None, *, to_write: bool = False
    ) -> RemoteRepository:
        """One of a registry, with what its earlier requests have learnt about logging in.

        `auth` None: what the puller's credentials say.  `to_write`: tokens are for pushing.
        """
        key = host, name, auth, to_write
        found = self._repositories.pop(key, None)
        if found is None:
            credentials = self.opener.credentials if auth is None else Given(auth)
            found = RemoteRepository(
                self.opener.network, host, name, credentials, to_write=to_write
            )
        self._repositories[key] = found
        while len(self._repositories) > _KEPT:
            self._repositories.popitem(last=False)
        return found

    def rest(self, place: str) -> None:
        """A place that did not answer is left alone for a while."""
        self._rests_until[place] = self.runtime.now() + REST_S

    def is_resting(self, place: str) -> bool:
        return self._rests_until.get(place, 0.0) > self.runtime.now()

    def close(self) -> None:
        """Close all connections, also those that others wait for."""
        if "opener" in self.__dict__:
            self.opener.close()
