"""Twenty tasks of five seconds, at most eight at a time: the wall time against that of three waves.

Run, at the top of a checkout: python -m benchmarks.waves [--tasks 20] [--seconds 5] [--agents 8]

Starts a real daemon on a fresh spool and a fresh repository, drops one plan of independent tasks whose agent is a
shell command that commits a file and sleeps, and measures from the rename of the plan to its response. Beside it: the
same commands by hand, eight at a time with xargs, with their own `git worktree add` (in turn, as git wants it).

What it does not show: a model's work, a large repository, tests (there is no test command), or a busy machine.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import tempfile
import time
from pathlib import Path

from tests.support.house import House
from tests.support.repository import git, make_repository

WORK = 'echo "$TASK_ID" > "file-$TASK_ID.txt"; git add -A; git commit -q -m "Work on $TASK_ID"; sleep {seconds}'


def by_daemon(folder: Path, tasks: int, seconds: float, agents: int) -> float:
    """Seconds from the drop of the plan to its response."""
    house = House(folder)
    house.settings = {"max_agents": agents}
    house.role("worker", WORK.format(seconds=seconds))
    try:
        house.start()
        plan = [
            {"id": f"t{n}", "title": f"Task {n}", "role": "worker", "files": [f"file-t{n}.txt"]} for n in range(tasks)
        ]
        began = time.monotonic()
        house.drop("incoming", "many.json", {"task_plan": {"id": "many", "tasks": plan}})
        response = house.response("many", seconds=tasks * seconds + 120)
        took = time.monotonic() - began
        assert response["status"] == "success", response
        return took
    finally:
        house.close()


def by_hand(folder: Path, tasks: int, seconds: float, agents: int) -> float:
    """Seconds for the same commands with xargs: the floor that git and the shell set."""
    repository = make_repository(folder)
    work = WORK.format(seconds=seconds)
    began = time.monotonic()
    for n in range(tasks):
        git(repository, "worktree", "add", "-q", "-b", f"feature/t{n}", f"worktrees/t{n}")
    subprocess.run(
        ["xargs", "-P", str(agents), "-I", "{}", "sh", "-c", f"cd worktrees/{{}} && TASK_ID={{}} && {work}"],
        input="\n".join(f"t{n}" for n in range(tasks)),
        text=True,
        cwd=repository,
        check=True,
    )
    return time.monotonic() - began


def main() -> None:
    """Measure both and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--agents", type=int, default=8)
    options = parser.parse_args()
    waves = math.ceil(options.tasks / options.agents)
    with tempfile.TemporaryDirectory() as scratch:
        hand = by_hand(Path(scratch) / "hand", options.tasks, options.seconds, options.agents)
        daemon = by_daemon(Path(scratch) / "house", options.tasks, options.seconds, options.agents)
    print(f"{options.tasks} tasks of {options.seconds:g} s, {options.agents} at a time: {waves} waves")
    print(f"  the waves alone       {waves * options.seconds:6.1f} s")
    print(f"  xargs and git by hand {hand:6.1f} s")
    print(f"  haikud                {daemon:6.1f} s   {daemon / hand:.2f} of by hand")
    print(f"  one after the other   {options.tasks * options.seconds:6.1f} s")


if __name__ == "__main__":
    main()
