"""What holds for all tests."""

from __future__ import annotations

import pytest
from hypothesis import settings

from tests.registries import serving

# How long an example takes says how busy the machine is.
settings.register_profile("wasmhold", deadline=None)
settings.load_profile("wasmhold")


@pytest.fixture(scope="module")
def host():
    """``HOST:PORT`` of a registry in memory, which a module has for itself."""
    with serving("--log", "off") as server:
        yield server.host
