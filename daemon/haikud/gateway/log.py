"""The gateway's log: one line an event, on stderr, which is the daemon's. Never a token, a credential or a body."""

from __future__ import annotations

import sys
from contextlib import suppress

_MOST = 500


def log(text: str) -> None:
    """Write a line."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"gateway: {' '.join(text.split())[:_MOST]}\n")
        sys.stderr.flush()
