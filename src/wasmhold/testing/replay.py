"""``python -m wasmhold.testing.replay URL FILE...``: have conversations with any registry."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path

from .senders import to_url
from .transcript import Difference, parse, replay


def main() -> int:
    """Exit status 1 when an answer differs; files that need settings are named and left out."""
    url, *files = sys.argv[1:]
    failed = 0
    for file in files:
        transcript = parse(Path(file).read_text(), Path(file).stem)
        if transcript.settings:
            print(f"skip {transcript.name}: needs {', '.join(transcript.settings)}")
            continue
        try:
            with to_url(url) as send:
                replay(transcript, send, repo=f"replay/{secrets.token_hex(4)}")
        except (Difference, OSError) as error:
            failed += 1
            print(f"FAIL {error}")
        else:
            print(f"ok   {transcript.name}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
