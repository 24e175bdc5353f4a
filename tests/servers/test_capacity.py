"""How many connections a worker takes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from wasmhold.servers.capacity import CONNECTIONS, fitting
from wasmhold.testing.covers import covers

GIB = 1 << 30
HEAD = 512 << 10

# fmt: off
LIMITS = [
    # open files, bytes of memory, what a head may hold, connections
    (1 << 30,     64 * GIB,        HEAD,      CONNECTIONS),
    (20_000,      64 * GIB,        HEAD,      CONNECTIONS),
    (16_640,      64 * GIB,        HEAD,      CONNECTIONS),
    (16_638,      64 * GIB,        HEAD,      CONNECTIONS - 1),
    (4096,        64 * GIB,        HEAD,      1920),
    (1024,        64 * GIB,        HEAD,      384),
    (100,         64 * GIB,        HEAD,      1),
    (1 << 30,     4 * GIB,         HEAD,      4096),
    (1 << 30,     GIB // 2,        HEAD,      512),
    (1 << 30,     1,               HEAD,      1),
]
# fmt: on


@covers("OW-119")
@pytest.mark.parametrize(("files", "memory", "head", "connections"), LIMITS)
def test_files_and_memory_decide(files, memory, head, connections):
    assert fitting(files, memory, head) == connections


PROGRAM = """
import json, resource
from wasmhold.servers.capacity import connections
resource.setrlimit(resource.RLIMIT_NOFILE, (512, 3000))
found = connections(1, 1)
print(json.dumps([found, *resource.getrlimit(resource.RLIMIT_NOFILE)]))
"""


@covers("OW-119")
def test_the_limit_of_open_files_is_raised_as_far_as_it_may_be():
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True)
    assert json.loads(ran.stdout) == [1372, 3000, 3000]
