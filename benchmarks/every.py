"""All benchmarks of speed, one after the other: what `make bench` runs. Then benchmarks.report writes what they found.

Run, at the top of a checkout: python -m benchmarks.every [--quick] [--all] [--only NAME...] [--into build/bench]

Each runs in a process of its own, says on its way what it does, and keeps its figures as JSON in the folder; one that
fails, or takes longer than it may, leaves its last words there instead, and the others go on. `--quick`: small
numbers, to see that all of it works; they say little. `--all`: also those that no goal rests on. Leave the machine
alone meanwhile.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from benchmarks.figures import say
from benchmarks.machine import describe

TIDY_SECONDS = 30
"""For a benchmark whose time is up to end what it started."""


@dataclass(frozen=True)
class Step:
    """One benchmark: its module, its options in full and for a short run, the seconds that it may take."""

    module: str
    full: Sequence[str] = ()
    quick: Sequence[str] = ()
    seconds: int = 240
    extra: bool = False  # only with --all


STEPS = (
    Step("dispatch", ["--rounds", "150"], ["--rounds", "10"]),
    Step("burst", ["--plans", "1000", "--ordinary", "60"], ["--plans", "50", "--ordinary", "5", "--turns", "1"], 360),
    Step("first_request", ["--rounds", "10"], ["--rounds", "2"]),
    Step("agents", [], ["--agents", "4", "--wait", "10", "--turns", "2"]),
    Step("queued", [], ["--tasks", "200", "--turns", "1", "--plans", "2", "--take-in", "50"]),
    Step("history", [], ["--finished", "1000", "--queued", "200", "--turns", "1", "--plans", "2"], 300),
    Step("restart", ["--tasks-per-plan", "1", "--runs", "2"], ["--tasks", "300", "--runs", "1"]),
    Step("idle", ["--seconds", "20"], ["--seconds", "6"]),
    Step("worktrees", ["--only", "haikud"], ["--files", "2000", "--only", "haikud"]),
    Step("gateway", ["--calls", "200"], ["--calls", "10"], extra=True),
    Step("isolation", ["--runs", "40"], ["--runs", "2"], extra=True),
)


def run(step: Step, into: Path, *, quick: bool) -> bool:
    """Whether its figures lie in the folder now; if not, why not."""
    kept, failed = into / f"{step.module}.json", into / f"{step.module}.failed"
    for old in (kept, failed):
        old.unlink(missing_ok=True)
    command = [sys.executable, "-m", f"benchmarks.{step.module}", *(step.quick if quick else step.full)]
    began = time.monotonic()
    code, words = watched([*command, "--json", str(kept)], step.seconds)
    why = "" if code == 0 and kept.exists() else f"it ended with {code} after {time.monotonic() - began:.0f} s: {words}"
    if why:
        failed.write_text(why.strip() + "\n", encoding="utf-8")
        say(f"{step.module} failed: {why}")
    else:
        say(f"{step.module} took {time.monotonic() - began:.0f} s")
    return not why


def watched(command: list[str], seconds: float) -> tuple[int, str]:
    """Run it, pass on what it says on stderr; its exit code and last words. When its time is up it may tidy up."""
    last: deque[str] = deque(maxlen=4)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        timers = [
            threading.Timer(seconds, process.send_signal, [signal.SIGINT]),
            threading.Timer(seconds + TIDY_SECONDS, process.kill),
        ]
        for timer in timers:
            timer.start()
        assert process.stderr is not None
        for line in process.stderr:
            print(line, end="", file=sys.stderr, flush=True)
            last.append(line.strip())
        process.wait()
        for timer in timers:
            timer.cancel()
    return process.returncode, " ".join(last)[-400:]


def main() -> int:
    """All of them; 1 where one failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=[])
    parser.add_argument("--into", type=Path, default=Path("build/bench"))
    options = parser.parse_args()
    options.into.mkdir(parents=True, exist_ok=True)
    for old in () if options.only else (*options.into.glob("*.json"), *options.into.glob("*.failed")):
        old.unlink()  # figures of two runs are not put side by side
    machine = {**describe(), "quick": options.quick}
    (options.into / "machine.json").write_text(json.dumps(machine, indent=1) + "\n", encoding="utf-8")
    began, well = time.monotonic(), True
    for step in STEPS:
        wanted = step.module in options.only if options.only else options.all or not step.extra
        if wanted and find_spec(f"benchmarks.{step.module}") is not None:
            say(f"-- {step.module}")
            well = run(step, options.into, quick=options.quick) and well
    say(f"all took {time.monotonic() - began:.0f} s; their figures are in {options.into}")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
