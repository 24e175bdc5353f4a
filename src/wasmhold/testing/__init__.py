"""For people who test against registries: one of their own, and a proxy that breaks connections."""

from .breaking import Passed
from .proxy import Proxy
from .registry import AsgiRegistry, Registry

__all__ = ["AsgiRegistry", "Passed", "Proxy", "Registry"]
