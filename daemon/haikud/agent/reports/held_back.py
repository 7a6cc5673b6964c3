"""Whether it may have been the sandbox that made a command fail: a guess, for the person who reads the report."""

from __future__ import annotations

import re

_SIGNS = re.compile(
    r"EACCES|EPERM|EROFS|Permission denied|Operation not permitted|Read-only file system|out of pty devices"
    r"|EAFNOSUPPORT|Address family not supported|CONNECT tunnel failed|Tunnel connection failed: 403"
    r"|Not listed in sandbox\.hosts|Temporary failure in name resolution|EAI_AGAIN",
    re.IGNORECASE,
)
_MOST = 160


def held_back_hint(mode: str, output: str) -> str | None:
    """A sentence with the line that looks like it; None where nothing does, or where nothing holds commands back."""
    if mode == "none":
        return None
    for line in output.splitlines():
        if _SIGNS.search(line):
            return (
                f"The sandbox ({mode}) may be the reason for {line.strip()[:_MOST]!r}: docs/troubleshooting.md has"
                " which setting opens what"
            )
    return None
