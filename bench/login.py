"""What a login costs, and whether its time tells that a user is unknown.

    python bench/login.py [--rounds 60]

Over HTTP, one connection, a file whose users have hashes of cost 8 and 10.  In each round: a login
that is remembered, then wrong passwords of users that there are and of names that there are not.
"""

from __future__ import annotations

import argparse
import base64
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.registries import serving
from wasmhold.auth.htpasswd import hash_password
from wasmhold.testing.senders import to_url
from wasmhold.testing.transcript import Exchange, Send

KNOWN = 6  # of each kind


def took_ms(send: Send, user: str, password: str, status: int) -> float:
    login = base64.b64encode(f"{user}:{password}".encode()).decode()
    start = time.perf_counter()
    answer = send(Exchange("GET", "/v2/", [("Authorization", f"Basic {login}")], None, False))
    took = (time.perf_counter() - start) * 1000
    assert answer.status == status
    return took


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=60)
    rounds = parser.parse_args().rounds
    hashes = {cost: hash_password(b"right", cost) for cost in (8, 10)}
    names = [f"user{i}" for i in range(KNOWN)]
    unknown = [f"name{i}" for i in range(KNOWN)]
    times: dict[str, list[float]] = {"remembered": []}
    times |= {name: [] for name in names + unknown}
    with tempfile.TemporaryDirectory() as folder:
        users = Path(folder, "users")
        lines = [f"{name}:{hashes[8 if i % 2 else 10]}\n" for i, name in enumerate(names)]
        users.write_text("".join(lines))
        flags = ("--htpasswd", str(users), "--log", "off")
        with serving(*flags) as server, to_url(server.url) as send:
            took_ms(send, names[0], "right", 200)
            for number in range(rounds):
                order = names + unknown
                random.shuffle(order)
                times["remembered"].append(took_ms(send, names[0], "right", 200))
                for name in order:
                    times[name].append(took_ms(send, name, f"wrong{number}", 401))
    print(f"milliseconds of GET /v2/, {rounds} each: median, and where the middle half lies")
    for name, found in times.items():
        low, middle, high = statistics.quantiles(found, n=4)
        print(f"{name:12} {middle:7.2f}   {low:7.2f} to {high:7.2f}")


if __name__ == "__main__":
    main()
