"""Start a command as any user of this machine would, though we be root: `python poor.py COMMAND ...`.

Root keeps its name and its files, and loses its capabilities, with which it could read any process.
"""

from __future__ import annotations

import ctypes
import os
import sys

PR_CAPBSET_DROP = 24

if __name__ == "__main__":
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None)
        for capability in range(64):
            libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 -- that is what it is for
