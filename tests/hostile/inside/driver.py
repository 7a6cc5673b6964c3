"""Run attempts one after the other, each in a process of its own; say what became of them in a file. Runs inside."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from tests.hostile.inside.registry import ATTEMPTS, FRIENDLY, Place

MODULES = ("friendly", "files", "repository", "processes", "network", "kernel", "limits")
MOST_SECONDS = 20.0


def load() -> None:
    """Import all attempts."""
    for name in MODULES:
        importlib.import_module(f"tests.hostile.inside.{name}")


def main() -> None:
    """`driver PLACE RESULTS NAME...`."""
    place_file, results, *names = sys.argv[1:]
    place = Place.of(json.loads(Path(place_file).read_bytes()))
    load()
    for name in names:
        child = os.fork()
        if child == 0:
            signal.alarm(int(MOST_SECONDS))
            began = time.monotonic()
            note(results, name, **ends(name, place), seconds=round(time.monotonic() - began, 3))
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        if os.WIFSIGNALED(status):
            note(results, name, got=None, error=f"killed by signal {os.WTERMSIG(status)}")


def ends(name: str, place: Place) -> dict[str, Any]:
    """What the attempt got, or why it got nothing."""
    try:
        got = (ATTEMPTS | FRIENDLY)[name].run(place)
    except OSError as error:
        return {"got": None, "error": f"{type(error).__name__}: {error}"}
    except BaseException:  # noqa: BLE001 -- of whatever kind; the control shows that an attempt works
        return {"got": None, "error": traceback.format_exc()}
    return {"got": got.decode("utf-8", "replace") if isinstance(got, bytes) else got, "error": None}


def note(results: str, name: str, **found: Any) -> None:
    """One line in the file, whole."""
    line = json.dumps({"name": name, **found}, default=str).encode() + b"\n"
    descriptor = os.open(results, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, line)
    os.close(descriptor)


if __name__ == "__main__":
    main()
