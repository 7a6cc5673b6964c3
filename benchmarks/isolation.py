"""What the walls cost each command: /bin/true from call to return in every mode, in turns in one run.

Run, at the top of a checkout: python -m benchmarks.isolation [--runs 40] [--json FILE]

Each command goes through `Sandbox.run`, as an attempt's commands do, in a process that is a subreaper, as a runner is.
The modes take turns, so that a machine that slows down in the middle slows all of them. Beside them: a Python that does
nothing, which is most of what mode landlock and the way out cost. The goals are bwrap at most 25 ms over none, and at
most 60 ms over none with the way out; on a machine that is slower or busier, compare with that Python.

What it does not show: the first command of an attempt (which looks at /etc and PATH once), a cold start (nothing in the
page cache), how much slower a command itself runs within walls (system calls pass a filter), the connections through
the proxy, or many attempts at once.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figures import Row, arguments, finish

from haikud.sandbox.egress.gate import open_egress
from haikud.sandbox.isolation import Sandbox
from haikud.sandbox.policy import Policy
from haikud.sandbox.prctl import become_subreaper
from haikud.sandbox.probe import why_not
from haikud.sandbox.view import python

NONE, BARE, BWRAP, WAY_OUT, LANDLOCK = "none", "python -I -S -c pass", "bwrap", "bwrap, way out", "landlock, way out"
GOALS = {BWRAP: 25, WAY_OUT: 60}  # milliseconds over none


def sandboxes(folder: Path) -> dict[str, Sandbox]:
    """One for each row that this machine can show."""
    folder.joinpath("tmp").mkdir()
    made = {NONE: Sandbox(Policy()), BARE: Sandbox(Policy())}
    for name, mode in ((BWRAP, "bwrap"), (WAY_OUT, "bwrap"), (LANDLOCK, "landlock")):
        why = why_not(mode)
        if why is not None:
            print(f"{name}: not measured: {why}")
            continue
        policy = Policy(mode=mode, writable=(folder,), temporary=folder / "tmp")
        made[name] = Sandbox(policy, None if name == BWRAP else open_egress(print, {})(policy))
    return made


def measure(made: dict[str, Sandbox], folder: Path, runs: int) -> dict[str, list[float]]:
    """Wall seconds of each run, in turns; one more turn before them warms the caches."""
    taken: dict[str, list[float]] = {name: [] for name in made}
    env = {"PATH": os.environ["PATH"], "HAIKUD_OUT": str(folder)}
    for turn in range(runs + 1):
        for name, sandbox in made.items():
            argv = [python(), "-I", "-S", "-c", "pass"] if name == BARE else ["/bin/true"]
            began = time.perf_counter()
            ended = sandbox.run(argv, cwd=folder, env=env, timeout=60, grace=1, on_output=print)
            if turn:
                taken[name].append(time.perf_counter() - began)
            if ended.exit_code != 0:
                sys.exit(f"{name}: {ended}")
    return taken


def main() -> None:
    """Measure and print a table."""
    parser = arguments(__doc__)
    parser.add_argument("--runs", type=int, default=40)
    options = parser.parse_args()
    become_subreaper()
    with tempfile.TemporaryDirectory() as name:
        made = sandboxes(Path(name))
        taken = measure(made, Path(name), options.runs)
        for sandbox in made.values():
            sandbox.close()
    medians = {name: statistics.median(times) * 1000 for name, times in taken.items()}
    least = {name: min(times) * 1000 for name, times in taken.items()}
    rows = []
    for name, median in medians.items():
        goal = f"goal: {GOALS[name]} ms over none" if name in GOALS else ""
        rows += [
            Row(name, median, "ms", goal, "median"),
            Row(name, median - medians[NONE], "ms", goal, "over none"),
            Row(name, least[name], "ms", goal, "least"),
            Row(name, least[name] - least[NONE], "ms", goal, "least over none"),
            Row(name, median / medians[BARE], "x", goal, "to that Python's"),
        ]
    finish("isolation", rows, options.json)


if __name__ == "__main__":
    main()
