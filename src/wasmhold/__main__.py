"""``python -m wasmhold``"""

from .cli import main

main()
