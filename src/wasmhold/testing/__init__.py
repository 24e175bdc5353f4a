"""For people who test against registries: one of their own, and a proxy that breaks connections."""

from .proxy import Passed, Proxy
from .registry import AsgiRegistry, Registry

__all__ = ["AsgiRegistry", "Passed", "Proxy", "Registry"]
