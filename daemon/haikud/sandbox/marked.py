"""The living processes that belong to attempts of haikud, by the marker in their environment (HAIKUD_OUT).

Reads /proc; a process of another user, whose environment we may not read, is not seen.
"""

from __future__ import annotations

import os
from pathlib import Path

from haikud.sandbox.process_table import MARKER_NAME, look_at_all


def marked_beneath(folder: Path) -> dict[int, str]:
    """Pid -> marker, of every living process (ourselves excepted) whose marker is a path beneath `folder`."""
    start = f"{MARKER_NAME}={folder}/".encode()
    found: dict[int, str] = {}
    for pid, seen in look_at_all().items():
        if pid == os.getpid() or not seen.alive:
            continue
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        for line in environment.split(b"\0"):
            if line.startswith(start):
                found[pid] = os.fsdecode(line.partition(b"=")[2])
    return found
