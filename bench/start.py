"""How long commands take to start: user and system CPU, as multiples of ``python -c pass``.

``python bench/start.py [RUNS]``: the least of so many runs of each (10).  design: --version at most
5 times, an answer without a network at most 10 times.
"""

from __future__ import annotations

import compileall
import os
import sys
import tempfile
from pathlib import Path

import wasmhold


def cpu_ms(*arguments: str) -> float:
    """Of one run, in milliseconds."""
    pid = os.fork()
    if pid == 0:
        out = os.open(os.devnull, os.O_WRONLY)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.execv(sys.executable, [sys.executable, *arguments])
    _, status, used = os.wait4(pid, 0)
    assert status == 0, arguments
    return (used.ru_utime + used.ru_stime) * 1000


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    # As pip leaves it: without, every run would compile what it imports.
    compileall.compile_dir(Path(wasmhold.__file__).parent, quiet=1)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "app.wasm")
        file.write_bytes(b"\0asm\x01\0\0\0")
        layout = f"oci:{folder}/layout:1"
        program = ("-m", "wasmhold")
        commands = {
            "python -c pass": ("-c", "pass"),
            "--version": (*program, "--version"),
            "--help": (*program, "--help"),
            "push to a layout": (*program, "push", str(file), layout),
            "resolve in a layout": (*program, "resolve", layout),
            "pull from a layout": (*program, "pull", layout, "-o", f"{folder}/out.wasm"),
        }
        least: dict[str, float] = {}
        for _ in range(runs):
            for name, arguments in commands.items():
                least[name] = min(least.get(name, 1e9), cpu_ms(*arguments))
    base = least["python -c pass"]
    for name, value in least.items():
        print(f"{name:<20} {value:7.1f} ms  {value / base:5.1f} x")


if __name__ == "__main__":
    main()
