"""The crash walk: every call that changes something is found by the kernel, and a process killed just before each.

    python -m tests.crash.walk [--who daemon|runner|all] [--scenario NAME] [--every N --offset K] [--parallel 2]
    python -m tests.crash.walk --point 'SCENARIO:WHO|CALL|PATH|N'     one point again, with all logs
    python -m tests.crash.walk --list                                 the points, and who makes the calls

Each story (scenario.py) is told once to list the calls that daemon and runners make beneath spool and repository
(git's included: then the runner and its git die together), and once for each of them with a death there. Then an
ordinary daemon must end the story as if nothing had been (checks.py). Exit code 1 where one point fails.

A point that does not come again (which of two threads was first, how often status.json was written) is tried three
times and counted as not reached.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.kernel import can_trace
from tests.crash.point import Outcome, run_point
from tests.crash.scenario import SCENARIOS

TRIES = 3

BY_TIME = (".status", "status.json", "ledger.jsonl", "role-history.json")
"""Written when a second has passed, or by and by: of equal calls the first two are points. Of writes, three."""


DAEMON_ALONE = ("again", "refused", "hold", "line")
"""Stories in which runners do nothing that they do not in the others: only the daemon dies."""


SAMPLED = {"haiku": ("transcript", "spend")}
"""Stories that are like others but for the calls on these files: of the rest every third is a point."""


@dataclass
class Walk:
    """What has been walked so far."""

    folder: Path
    keep: Path | None = None  # where the logs of what fails are kept
    reached: int = 0
    missed: list[str] = field(default_factory=list)
    failed: list[tuple[str, Outcome]] = field(default_factory=list)
    enough: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def walk_one_of(self, point: str) -> None:
        """One point of many; nothing once somebody has had enough."""
        if not self.enough.is_set():
            self.walk(point)
            walked = self.reached + len(self.missed)
            if walked % 50 == 0:
                say(f"{walked} walked")

    def walk(self, point: str) -> Outcome:
        """One point, tried again where it is not reached."""
        scenario, _, kill = point.partition(":")
        for number in range(TRIES):
            outcome = told(scenario, self.folder, kill)
            if outcome.died or outcome.wrong or number == TRIES - 1:
                break
        with self._lock:
            self.reached += outcome.died is not None
            if outcome.wrong:
                self.failed.append((point, outcome))
                if self.keep is not None:
                    (self.keep / f"{len(self.failed)}.log").write_text(f"{point}\n{outcome.wrong}\n{outcome.said}\n")
                say(f"FAILED {'; '.join(outcome.wrong)}\n    {replay(point)}")
            elif outcome.died is None:
                self.missed.append(point)
        return outcome


def say(text: str) -> None:
    """A line for whoever walks."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def replay(point: str) -> str:
    """The command that does it again."""
    return f"python -m tests.crash.walk --point {shlex.quote(point)}"


def told(scenario: str, folder: Path, kill: str | None) -> Outcome:
    """What became of a story, told in a house of its own."""
    with tempfile.TemporaryDirectory(prefix="w-", dir=folder, ignore_cleanup_errors=True) as root:
        return run_point(SCENARIOS[scenario], Path(root) / "house", kill)


def list_calls(scenario: str, folder: Path) -> list[dict[str, object]]:
    """Every call of a story that nobody dies in. Raises RuntimeError where even that ends badly."""
    outcome = told(scenario, folder, None)
    if outcome.wrong:
        raise RuntimeError(f"{scenario} ends badly without any death: {outcome.wrong}\n{outcome.said}")
    return outcome.calls


def points_of(scenario: str, calls: list[dict[str, object]], who: str) -> list[str]:
    """The points among a story's calls. How a daemon begins is walked in the first story alone."""
    keys = [str(call["key"]) for call in calls if not call["idle"]]
    if scenario != next(iter(SCENARIOS)):
        first = next(index for index, key in enumerate(keys) if ".taken-*" in key)
        keys = keys[first:]
    if scenario in DAEMON_ALONE:
        keys = [key for key in keys if key.startswith("daemon")]
    if scenario in SAMPLED:
        keys = [
            key for index, key in enumerate(keys) if index % 3 == 0 or any(name in key for name in SAMPLED[scenario])
        ]
    if who != "all":
        keys = [key for key in keys if key.startswith("daemon") == (who == "daemon")]
    return [f"{scenario}:{key}" for key in keys if int(key.rpartition("|")[2]) <= _most_of(key)]


def _most_of(key: str) -> int:
    _, call, path, _ = key.split("|")
    if any(name in path for name in BY_TIME):
        return 2
    return 3 if call.startswith(("write", "pwrite")) else 1000


def print_calls(scenario: str, calls: list[dict[str, object]]) -> None:
    """Which thread of the daemon makes which calls where."""
    found: Counter[tuple[str, str]] = Counter()
    for call in calls:
        who, name, path, _ = str(call["key"]).split("|")
        if who == "daemon":
            thread = "loop" if call["main"] else f"thread {call['thread']}"
            found[thread, f"{name} {path.split(' -> ')[-1]}"] += 1
    for (thread, what), count in sorted(found.items()):
        say(f"{scenario}\t{thread}\t{count}\t{what}")


def main() -> int:
    """See the module's head."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash.walk", description="Kill at every system call.")
    parser.add_argument("--who", choices=["daemon", "runner", "all"], default="all")
    parser.add_argument("--scenario", choices=list(SCENARIOS), action="append")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--offset", type=int, default=0)
    parser.add_argument("--parallel", type=int, default=1)
    parser.add_argument("--point", action="append")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--keep", type=Path, help="a folder for the logs of failing points")
    arguments = parser.parse_args()
    if why := can_trace():
        sys.exit(f"the crash walk cannot be done here: {why}")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="haikud-walk-") as folder:
        walk = Walk(Path(folder), arguments.keep)
        if arguments.point:
            return _replay(walk, arguments.point)
        points: list[str] = []
        for scenario in arguments.scenario or SCENARIOS:
            calls = list_calls(scenario, walk.folder)
            if arguments.list:
                print_calls(scenario, calls)
            points += points_of(scenario, calls, arguments.who)
        if arguments.list:
            say("\n".join(points))
            return 0
        chosen = points[arguments.offset :: arguments.every]
        say(f"{len(points)} points, walking {len(chosen)}: every {arguments.every} from {arguments.offset}")
        with ThreadPoolExecutor(arguments.parallel) as pool:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: walk.enough.set())
            list(pool.map(walk.walk_one_of, chosen))
        for point in walk.missed:
            say(f"not reached: {point}")
        cut = " (cut short)" if walk.enough.is_set() else ""
        say(
            f"{len(chosen)} points of {len(points)}{cut}: {walk.reached} reached, {len(walk.missed)} not reached, "
            f"{len(walk.failed)} failed, {time.monotonic() - began:.0f} s"
        )
        return 1 if walk.failed else 0


def _replay(walk: Walk, points: list[str]) -> int:
    for point in points:
        outcome = walk.walk(point)
        say(f"{point}: died at {outcome.died}, {outcome.seconds:.1f} s, {outcome.wrong or 'as it should be'}")
        if outcome.wrong:
            say(outcome.said)
    return 1 if walk.failed else 0


if __name__ == "__main__":
    sys.exit(main())
