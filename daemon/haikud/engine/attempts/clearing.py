"""Clearing up after a runner: its claim taken, its process tree ended and proven empty, its cgroup removed.

To the tree belongs who carries the attempt's mark, who is in its cgroup, who calls itself its runner, and who holds
its claim: the runner closes that to its children, so whoever has it longer than the runner lived is one that was
forked, not started, or one that took it. No new attempt begins before this has succeeded.

Nearly always nothing is left. Where we know when the attempt began, that is proven by a look at those alone who started
since (sandbox/newcomers.py); everything else, and who is found there, is for `end_tree`, which looks at everybody.

Raises TreeStillAlive, TimeoutError (somebody whom we cannot find holds the claim) and OSError: to be tried again.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from haikud.engine.launchers.sighting import is_runner
from haikud.sandbox.cgroups import find_cgroups, remove_cgroup
from haikud.sandbox.newcomers import Newcomers
from haikud.sandbox.process_table import Seen, holds_lock
from haikud.sandbox.trees import end_tree
from haikud.spool.claims import is_no_claim, read_runner_cgroup, release_claim, take_claim
from haikud.spool.layout import AttemptPaths

CLAIM_SECONDS = 1.0
"""How long a dead runner's claim may take to be free before its holder is looked for."""


def clear_attempt(
    paths: AttemptPaths,
    grace: float,
    cgroup: str,
    *,
    newcomers: Newcomers | None = None,
    born: int | None = None,
    place: str | None = None,
) -> tuple[int | None, list[str]]:
    """The claim's descriptor, and what was ended. No descriptor: the agent has put something else in its place.

    `grace` is the seconds between TERM and KILL, `cgroup` the name of the attempt's, where it has one, `place` the one
    that its runner was in as a spare: what we know ourselves counts, and not what an agent may have noted. `born`: when
    its runner was started, in clock ticks since boot, where that runner is known to be dead.
    """
    with suppress(FileExistsError):  # an agent that runs unconfined may have removed it
        os.mkdir(paths.folder, mode=0o700)  # noqa: PTH102 - for every attempt
    claim, is_held = _wait_for_claim(paths.claim)

    def belongs(seen: Seen, line: bytes | None = None) -> bool:
        return is_runner(seen, paths.folder, line) or (is_held and holds_lock(seen.pid, paths.claim))

    try:
        cgroups, marker = find_cgroups(cgroup, place or read_runner_cgroup(paths.runner)), str(paths.out)
        if (
            newcomers is None
            or born is None
            or is_held
            or not newcomers.has_left_nobody(born, marker, cgroups, belongs)
        ):
            ended = end_tree(marker=marker, pids=[], grace=grace, cgroups=cgroups, belongs=belongs)
        else:
            ended = []
    except BaseException:
        if claim is not None:
            release_claim(claim)
        raise
    if is_held:
        claim, is_held = _wait_for_claim(paths.claim)
    if is_held:
        raise TimeoutError(f"{paths.claim} is still held though its runner and its tree are gone")
    for folder in cgroups:
        remove_cgroup(folder)
    return claim, ended


def _wait_for_claim(path: Path) -> tuple[int | None, bool]:
    """The claim, and whether somebody else holds it. Raises OSError where the machine refuses to say."""
    until = time.monotonic() + CLAIM_SECONDS
    while True:
        try:
            claim = take_claim(path)
        except OSError as error:
            if is_no_claim(error):
                return None, False
            raise
        if claim is not None or time.monotonic() >= until:
            return claim, claim is None
        time.sleep(0.01)
