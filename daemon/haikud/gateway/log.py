"""The gateway's log: one line an event, on stderr, which is the daemon's. Never a token, a credential or a body."""

from __future__ import annotations

from haikud.spool.log_lines import Dress, write_line

_MOST = 500

_dress = Dress.PEOPLE


def dress_lines(dress: Dress) -> None:
    """Let lines look as the daemon's do. Once, at the boot."""
    global _dress  # noqa: PLW0603 - a process has one stderr
    _dress = dress


def log(text: str) -> None:
    """Write a line."""
    write_line(_dress, "info", f"gateway: {' '.join(text.split())[:_MOST]}")
