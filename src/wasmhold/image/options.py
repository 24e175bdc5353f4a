"""What a puller is told when it is made."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypedDict

from ..client.caches.port import CacheHandle
from ..client.credentials import Anonymous, Credentials, Given
from ..client.hosts import DOCKER_HUB
from ..client.place import PlaceInvalid, is_host
from ..client.platforms import Platform
from ..client.settings import Settings
from ..oci.reference import parse_name
from ..ports.repository import Repository
from ..ports.runtime import ClientRuntime
from .events import OnEvent
from .policy import PullPolicy, SourcePolicy
from .reference import ImageReference

CONNECT_TIMEOUT_S: Final = 30.0
READ_TIMEOUT_S: Final = 300.0  # of silence; a whole blob may take any time


class LocalImages(Protocol):
    """The images of this machine, by names that may begin with a host."""

    async def repository(self, name: str) -> Repository:
        """Whoever gets it closes it.  Raises NameUnknown, NameInvalid."""
        ...

    async def names(self) -> Sequence[str]:
        """All of them, sorted."""
        ...


class LocalHandle(Protocol):
    """A local registry as a user holds it."""

    def engine(self, runtime: ClientRuntime) -> LocalImages: ...


class Changes(TypedDict, total=False):
    """What a copy of a puller may do in another way; `Configuration` says what each is."""

    platform: Platform | str | None
    concurrency: int
    shared_cache: CacheHandle | None
    default_registry: str | None
    source_policy: SourcePolicy | str
    policy: PullPolicy | str
    local_registry: LocalHandle | None
    mirrors: Mapping[str, Sequence[str]]
    pinned_tags: Callable[[ImageReference], bool]
    stale_if_error: bool
    on_event: OnEvent | None


class Options(Changes, total=False):
    """What `ImagePuller` may be told beside its cache: all that, and how registries are reached."""

    environ: Mapping[str, str]
    credentials: Credentials | None
    user_logins: bool
    insecure_hosts: Collection[str]
    allow_private_urls: bool
    ca_file: str | None
    client_cert: str | tuple[str, str | None] | None
    proxy: str | None
    user_agent: str | None
    connect_timeout_s: float | None
    read_timeout_s: float | None
    retries: int


def _none_pinned(reference: ImageReference) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What `Options` mean; the defaults.

    platform         of an index: that of this machine unless it is said
    concurrency      blobs of one pull that come side by side
    shared_cache     a cache that several machines share, behind the own one
    default_registry of a bare name; without one a bare name is only looked for here
    source_policy, policy: which places are asked, and when, unless a call says it
    local_registry   images of this machine
    mirrors          of a host, in the order in which they are asked before it
    pinned_tags      whether a tag never moves, so that nobody asks
    stale_if_error   what is here is used where the registry cannot say whether it is up to date
    on_event         hears of everything; without it warnings are those of Python
    environ          names proxies, and where logins are kept
    credentials      who the user is; nobody unless it is said
    user_logins      where `credentials` are not given, those of docker and podman, by `environ`
    insecure_hosts   that are spoken to without TLS; on loopback that is found out
    allow_private_urls: whether the URLs of a foreign layer may lead into private networks
    ca_file          further authorities to trust, a PEM file
    client_cert      a PEM file with certificate and key, or one for each
    proxy            the URL of one for all requests
    user_agent       what requests say they come from
    connect_timeout_s, read_timeout_s: for a connection, and for the next bytes
    retries          how often what may heal is tried again
    """

    platform: Platform | str | None = None
    concurrency: int = 4
    shared_cache: CacheHandle | None = None
    default_registry: str | None = None
    source_policy: SourcePolicy | str = SourcePolicy.LOCAL_FIRST
    policy: PullPolicy | str = PullPolicy.NEWER
    local_registry: LocalHandle | None = None
    mirrors: Mapping[str, Sequence[str]] = field(default_factory=dict)
    pinned_tags: Callable[[ImageReference], bool] = _none_pinned
    stale_if_error: bool = True
    on_event: OnEvent | None = None
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    credentials: Credentials | None = field(default=None, repr=False)
    user_logins: bool = False
    insecure_hosts: Collection[str] = ()
    allow_private_urls: bool = False
    ca_file: str | None = None
    client_cert: str | tuple[str, str | None] | None = None
    proxy: str | None = None
    user_agent: str | None = None
    connect_timeout_s: float | None = CONNECT_TIMEOUT_S
    read_timeout_s: float | None = READ_TIMEOUT_S
    retries: int = 3

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise ValueError("concurrency: want at least 1")
        # What is wrong is said when the puller is made, not at its first pull.
        PullPolicy(self.policy)
        SourcePolicy(self.source_policy)
        self.wanted_platform()
        ImageReference.parse("name").within(self.registry)
        for mirror in (one for several in self.mirrors.values() for one in several):
            host, slash, prefix = mirror.partition("/")
            if not is_host(host):
                raise PlaceInvalid("want a mirror as HOST[:PORT][/PREFIX]", mirror)
            if slash:
                parse_name(prefix, mirror, len(host) + 1)

    @property
    def registry(self) -> str | None:
        """The default registry; a blank one is none."""
        return (self.default_registry or "").strip() or None

    def mirrors_of(self, registry: str) -> Sequence[str]:
        """Those of a registry; Docker Hub has several names."""
        for host, mirrors in self.mirrors.items():
            if host == registry or {host, registry} <= DOCKER_HUB:
                return mirrors
        return ()

    def wanted_platform(self) -> Platform | None:
        """Raises PlatformInvalid."""
        return as_platform(self.platform)

    def settings(self) -> Settings:
        """How registries are reached.  The environment of the process is never read."""
        certificate = self.client_cert
        if isinstance(certificate, str):
            certificate = certificate, None
        environ = dict(self.environ)
        if self.proxy is not None:
            environ |= dict.fromkeys(("http_proxy", "https_proxy"), self.proxy)
        nobody = None if self.user_logins else Given(Anonymous())
        return Settings(
            environ=environ,
            plain_http=self.insecure_hosts,
            allow_private_urls=self.allow_private_urls,
            ca_file=self.ca_file,
            client_certificate=certificate,
            user_agent=self.user_agent,
            credentials=self.credentials or nobody,
            concurrency=self.concurrency,
            retries=self.retries,
            connect_timeout_s=self.connect_timeout_s,
            read_timeout_s=self.read_timeout_s,
        )


def as_platform(platform: Platform | str | None) -> Platform | None:
    """Raises PlatformInvalid."""
    return Platform.parse(platform) if isinstance(platform, str) else platform
