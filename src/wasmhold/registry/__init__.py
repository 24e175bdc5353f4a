"""Performs operations over the ports: one small module per noun, no HTTP, no event loop."""

from .perform import Registry
from .settings import Settings

__all__ = ["Registry", "Settings"]
