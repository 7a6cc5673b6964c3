"""Every attempt to break out fails in the modes that hold it, and succeeds where there are no walls: it is a real one."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.hostile.inside.driver import load
from tests.hostile.inside.registry import ATTEMPTS, FRIENDLY
from tests.hostile.victim import Victim, judge, restore, state_of
from tests.support.processes import as_a_subreaper
from tests.support.waiting import wait_until
from tests.support.walls import skip_without

from haikud.agent.phases.validate import validate
from haikud.agent.worktree import put_in_order
from haikud.contracts.states import Phase
from haikud.sandbox.landlock import landlock_abi
from haikud.sandbox.matrix import holds

load()
ROOT = os.geteuid() == 0
FEWEST = 100
PLANTS = [attempt.name for attempt in ATTEMPTS.values() if attempt.plants]
DIRECT = [attempt.name for attempt in ATTEMPTS.values() if not attempt.plants]


@pytest.fixture
def victim(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Victim]:
    skip_without(request.param)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with contextlib.closing(Victim(tmp_path, request.param)) as made:
        yield made


def through(victim: Victim) -> tuple[dict[str, bool], dict[str, Any]]:
    """Which attempts got through, and what they said. What they changed is put back."""
    every = ATTEMPTS | FRIENDLY
    before = {name: state_of(victim.path(name)) for attempt in every.values() if (name := attempt.changes)}
    with as_a_subreaper() if victim.mode != "none" else contextlib.nullcontext():
        found = victim.run([*FRIENDLY, *DIRECT])
    expected = {name for name in DIRECT if every[name].survives}
    with contextlib.suppress(TimeoutError, AssertionError):  # the one that forks on and on is not there at once
        wait_until(lambda: expected <= set(victim.survivors().values()), seconds=5 if victim.mode == "none" else 1.5)
    ends = {name: judge(victim, every[name], found.get(name), before) for name in [*FRIENDLY, *DIRECT]}
    restore(victim, before)
    said = {name: line["error"] or line["got"] for name, line in found.items()}
    assert {name: said.get(name) for name in FRIENDLY if not ends[name]} == {}
    return ends, said


def use_git(folder: Path, *more: str, seconds: float = 30) -> None:
    """What a user does there without a thought. Whether git is content is not asked."""
    for command in (["status"], ["diff"], ["add", "-A"], ["commit", "-q", "-m", "mine"]):
        subprocess.run(["git", *more, *command], cwd=folder, capture_output=True, check=False, timeout=seconds)


def careless(victim: Victim) -> None:
    """The control: who uses git there as it was left runs what was planted, or waits for ever."""
    worktree, ran = victim.attempt.worktree, victim.attempt.paths.out / "ran"
    said = victim.run([name for name in PLANTS if name != "leave_pipes_where_git_reads"])
    use_git(worktree)
    use_git(worktree, f"--git-dir={victim.attempt.task_paths.private_git}", f"--work-tree={worktree}")
    assert set(ran.read_text(encoding="utf-8").split()) == {"own-folder", "replaced-git", "within", "beside"}, said
    victim.run(["leave_pipes_where_git_reads"])
    with pytest.raises(subprocess.TimeoutExpired):
        use_git(worktree, seconds=1)
    ran.unlink()


def planted(victim: Victim) -> set[str]:
    """Which plants ran, when haikud went on with its work, and its user after it."""
    ran = victim.attempt.paths.out / "ran"
    if victim.mode == "none":
        careless(victim)
    else:
        victim.run(PLANTS)
    with as_a_subreaper():
        victim.attempt.enter(Phase.VALIDATE, 80, "Measuring what was done")
        validate(victim.attempt)
        put_in_order(victim.attempt)
    use_git(victim.attempt.worktree)
    use_git(victim.bench.repository)
    return set(ran.read_text(encoding="utf-8").split()) if ran.exists() else set()


@pytest.mark.parametrize("victim", ["none"], indirect=True)
def test_without_walls_every_attempt_gets_through(victim: Victim):
    ends, said = through(victim)
    lasting = set(victim.survivors())
    here = [ATTEMPTS[name] for name in DIRECT if ROOT or not ATTEMPTS[name].root]
    failed = {attempt.name: said.get(attempt.name) for attempt in here if not ends[attempt.name]}
    assert {name: why for name, why in failed.items() if not ATTEMPTS[name].doubtful} == {}
    assert len(here) - len(failed) >= FEWEST
    with as_a_subreaper():  # what even mode none promises
        victim.run([name for name in DIRECT if ATTEMPTS[name].survives])
    with pytest.raises(AssertionError):  # the one that forks on and on would come late
        wait_until(lambda: set(victim.survivors()) - lasting, seconds=1.5)
    print(f"{len(here) - len(failed)} of {len(DIRECT)} attempts are real here; not: {failed}")  # noqa: T201 -- figures
    assert planted(victim) == set()


@pytest.mark.parametrize("victim", ["bwrap", "landlock"], indirect=True)
def test_within_walls_attempts_fail_where_the_matrix_says_so(victim: Victim):
    ends, said = through(victim)
    held = {row for row, is_held in holds(victim.mode, landlock_abi()).items() if is_held}
    broke_out = {name: f"{ATTEMPTS[name].row}: {said.get(name)}" for name in DIRECT if ends[name]}
    if ROOT:
        broke_out = {name: why for name, why in broke_out.items() if ATTEMPTS[name].held_from_root}
    assert {name: why for name, why in broke_out.items() if ATTEMPTS[name].row in held} == {}
    tried = {ATTEMPTS[name].row for name in DIRECT if not ATTEMPTS[name].doubtful and (ROOT or not ATTEMPTS[name].root)}
    assert tried - held - {ATTEMPTS[name].row for name in broke_out} == set(), (
        "held after all: the matrix should say so"
    )
    assert planted(victim) == set()
