"""Plays a runner for the launcher's tests: makes the claim its own, names itself, says what it got, then obeys."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

from haikud.spool.claims import write_runner_identity


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--attempt", type=Path, required=True)
    parser.add_argument("--claim-fd", type=int, required=True)
    parser.add_argument("--key-fd", type=int)
    parser.add_argument("--cgroup")
    parser.add_argument("ref")
    given = parser.parse_args()
    os.set_inheritable(given.claim_fd, False)
    key = os.read(given.key_fd, 65536).decode() if given.key_fd is not None else None
    while (given.attempt / "be-nameless").exists():
        time.sleep(0.01)
    write_runner_identity(given.attempt / "runner.json", "tiny")
    seen = {
        "ref": given.ref,
        "key": key,
        "cgroup": given.cgroup,
        "environment": dict(os.environ),
        "cwd": str(Path.cwd()),
        "leader": os.getsid(0) == os.getpid(),
        "stdin": os.read(0, 1).decode(),
        "open": sorted(int(path.name) for path in Path("/proc/self/fd").iterdir() if path.exists()),
        "given": [given.claim_fd, given.key_fd],
    }
    sys.stdout.write("a word on stdout\n")
    sys.stdout.flush()
    sys.stderr.write("a word on stderr\n")
    (given.attempt / "seen.tmp").write_text(json.dumps(seen), encoding="utf-8")
    (given.attempt / "seen.tmp").rename(given.attempt / "seen.json")
    while not (given.attempt / "end").exists():
        time.sleep(0.01)
    return int((given.attempt / "end").read_text() or "0")


if __name__ == "__main__":
    sys.exit(main())
