"""The kill storm: daemons and runners die at random moments, and nothing is lost and nothing happens twice.

`python -m tests.crash.storm [--plans 60] [--tasks 300] [--daemon-kills 150] [--runner-kills 150] [--seed N]` drops
plans on a real daemon, with real git effects, while a killer sends KILL. Most agents are commands; some are the
built-in one, against a scripted Messages API: no model is involved. Ends with 0 when all that must hold holds, else
with 1 and the list of violations. Where the folder is kept (`--keep`, or a violation) its path is printed.

`retries.orphans` and `retries.attempts` are set to 50 here: with the defaults, 3, so many kills would rightly fail some
tasks by their bound, and the storm could not tell that from a fault.
"""

from __future__ import annotations

import argparse
import random
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.crash import storm_checks as checks
from tests.crash.storm_driver import Driver
from tests.crash.storm_killer import Killer
from tests.crash.storm_plans import Script, write_script
from tests.crash.storm_stage import Stage

PROGRESS_SECONDS = 5.0


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    plans: int = 60
    tasks: int = 300
    daemon_kills: int = 150
    runner_kills: int = 150


@dataclass
class Verdict:
    """What came of a storm."""

    seconds: float = 0.0
    daemon_kills: int = 0
    runner_kills: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    did: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    observed: dict[str, Any] = field(default_factory=dict)
    attempts: int = 0
    commits: int = 0
    doctor: str = ""
    violations: list[str] = field(default_factory=list)


def run_storm(size: Size, seed: int, root: Path, *, quiet: bool = False, launcher: str = "subprocess") -> Verdict:
    """One storm in a new folder `root`."""
    tag = f"s{secrets.token_hex(3)}"
    dice = random.Random(seed)  # noqa: S311 - a seed is to give the same storm again
    script = write_script(dice, tag=tag, plans=size.plans, tasks=size.tasks)
    stage = Stage(root, tag, launcher)
    verdict = Verdict()
    began = time.monotonic()
    try:
        stage.open()
        driver = Driver(stage, script, random.Random(dice.random()))  # noqa: S311
        killer = Killer(
            stage,
            random.Random(dice.random()),  # noqa: S311
            lambda: driver.progress,
            daemons=size.daemon_kills,
            runners=size.runner_kills,
        )
        _blow(driver, killer, script, began, quiet=quiet)
        verdict.seconds = time.monotonic() - began
        _judge(verdict, size, stage, script, driver, killer)
    finally:
        stage.close()
    return verdict


def _blow(driver: Driver, killer: Killer, script: Script, began: float, *, quiet: bool) -> None:
    """Until everything is answered."""
    with ThreadPoolExecutor(2) as pool:
        threads = {pool.submit(driver.run), pool.submit(killer.run, driver.over)}
        while not driver.over.is_set():
            done, _ = wait_for(threads, timeout=PROGRESS_SECONDS, return_when="FIRST_EXCEPTION")
            if any(thread.exception() for thread in done):
                driver.over.set()
            if not quiet:
                _say(
                    f"{time.monotonic() - began:6.0f} s  {driver.finished}/{len(script.tasks)} tasks final, "
                    f"killed {killer.daemons} daemons, {killer.runners} runners"
                )
        for thread in threads:
            thread.result()


def _judge(verdict: Verdict, size: Size, stage: Stage, script: Script, driver: Driver, killer: Killer) -> None:
    """The daemon is ended, then everything is looked at."""
    house, wrong = stage.house, verdict.violations
    house.send(signal.SIGTERM)
    if house.ended() != 0:
        wrong.append(f"the last daemon ended with {house.ended()} after TERM: {house.said()[-1000:]}")
    verdict.observed = stage.observed()
    verdict.daemon_kills, verdict.runner_kills = killer.daemons, killer.runners
    verdict.kills, verdict.did = killer.counts, driver.did
    wrong += killer.violations + driver.violations + stage.breaches()
    wrong += [text for text in verdict.observed["violations"] if f"observer: {text}" not in wrong]
    if killer.daemons < size.daemon_kills or killer.runners < size.runner_kills:
        wrong.append(f"only {killer.daemons} daemons and {killer.runners} runners could be killed")
    wrong += checks.check_answers(script, driver, stage)
    unexpected, verdict.outcomes = checks.check_outcomes(script, driver, stage)
    effects, verdict.commits = checks.check_effects(script, stage)
    doctor, verdict.doctor = checks.check_doctor(stage)
    wrong += unexpected + effects + checks.check_decisions(script, stage) + checks.check_beats(script, stage)
    wrong += checks.check_processes(stage) + checks.check_names(stage) + checks.check_repositories(script, stage)
    wrong += doctor + checks.check_costs(stage)
    verdict.attempts = len(list((house.spool / "plans").glob("*/*/attempt-*")))


def tell(verdict: Verdict) -> None:
    """The summary."""
    seen = verdict.observed
    rows = [
        ("seconds", f"{verdict.seconds:.0f}"),
        ("daemons killed", verdict.daemon_kills),
        ("runners killed", verdict.runner_kills),
        *((f"  {what}", number) for what, number in sorted(verdict.kills.items())),
        *((f"dropped: {what}", number) for what, number in verdict.did.items()),
        *((f"tasks: {status}", number) for status, number in sorted(verdict.outcomes.items())),
        ("attempts", verdict.attempts),
        ("commits, each once", verdict.commits),
        ("looks of the observer", f"{seen.get('looks')}, at most {seen.get('longest_gap', 0):.2f} s apart"),
        ("runners seen, most at once", f"{seen.get('runners')}, {seen.get('most_runners')}"),
        ("processes seen, most at once", f"{seen.get('processes')}, {seen.get('most_processes')}"),
        ("runners whose lock was checked", seen.get("claims_checked")),
        ("haikud doctor", verdict.doctor),
    ]
    for name, value in rows:
        _say(f"  {name:<48}{value}")
    for text in verdict.violations[:100]:
        _say(f"VIOLATION: {text}")
    _say(f"{len(verdict.violations)} violations" if verdict.violations else "nothing lost, nothing twice")


def main(arguments: list[str] | None = None) -> int:
    """One storm; 0 when all that must hold holds."""
    whole = Size()
    parser = argparse.ArgumentParser(prog="python -m tests.crash.storm")
    parser.add_argument("--plans", type=int, default=whole.plans)
    parser.add_argument("--tasks", type=int, default=whole.tasks)
    parser.add_argument("--daemon-kills", type=int, default=whole.daemon_kills)
    parser.add_argument("--runner-kills", type=int, default=whole.runner_kills)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--launcher", choices=("forkserver", "subprocess"), default="forkserver")
    parser.add_argument("--keep", action="store_true", help="keep the folder though nothing is wrong")
    options = parser.parse_args(arguments)
    size = Size(options.plans, options.tasks, options.daemon_kills, options.runner_kills)
    again = (
        f"python -m tests.crash.storm --plans {size.plans} --tasks {size.tasks} --daemon-kills {size.daemon_kills} "
        f"--runner-kills {size.runner_kills} --seed {options.seed} --launcher {options.launcher}"
    )
    _say(f"seed {options.seed}; again: {again}")
    _say("built-in agents talk to a scripted API, no model is involved; retries.orphans and retries.attempts are 50")
    root = Path(tempfile.mkdtemp(prefix="haikud-storm-"))
    verdict = run_storm(size, options.seed, root / "storm", launcher=options.launcher)
    tell(verdict)
    if verdict.violations or options.keep:
        _say(f"kept: {root}; again: {again}")
    else:
        shutil.rmtree(root)
    return 1 if verdict.violations else 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
