"""`haikud run` that is killed just before its N-th change beneath the spool: python dying_daemon.py N SPOOL ARGS..."""

from __future__ import annotations

import os
import signal
import sys

CHANGES = frozenset({"os.rename", "os.mkdir", "os.symlink", "os.link", "os.remove", "os.truncate", "subprocess.Popen"})
UNCOUNTED = ("status.json", "ledger.jsonl")
"""Written when a second has passed or by and by: they would make the count a matter of luck."""


def main() -> None:
    left, spool = int(sys.argv[1]), sys.argv[2]

    def watch(event: str, args: tuple[object, ...]) -> None:
        nonlocal left
        creates = event == "open" and isinstance(args[2], int) and args[2] & os.O_CREAT
        if event not in CHANGES and not creates:
            return
        text = " ".join(map(str, args))
        if spool in text and not any(name in text for name in UNCOUNTED):
            left -= 1
            if left == 0:
                sys.stderr.write(f"dying before {event} {text[:300]}\n")
                sys.stderr.flush()
                os.kill(os.getpid(), signal.SIGKILL)

    from haikud.interfaces.cli import main as haikud

    sys.argv = ["haikud", "run", "--spool", spool, *sys.argv[3:]]
    sys.addaudithook(watch)
    haikud()


if __name__ == "__main__":
    main()
