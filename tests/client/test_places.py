"""Every local place: the suite."""

import pytest

from wasmhold.client.places.memory import MemoryRepository
from wasmhold.client.runtime import ThreadRuntime
from wasmhold.testing.repository_suite import REPOSITORY_CHECKS, check_repository


@pytest.mark.parametrize("check", REPOSITORY_CHECKS)
def test_memory(check):
    check_repository(lambda: MemoryRepository(ThreadRuntime()), [check])
