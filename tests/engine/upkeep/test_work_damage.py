"""What the doctor sees of repositories, attempts and processes, and what --repair does about it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
from tests.engine.upkeep.test_spool_damage import DEAD, add_decision
from tests.support.lived_in import LivedIn
from tests.support.repository import git
from tests.support.waiting import wait_until

from haikud.contracts.attempt import WorkspaceOrder
from haikud.contracts.base import utc_now
from haikud.contracts.format import SpoolFormat
from haikud.engine.attempts.specs import build_workspace
from haikud.engine.upkeep.findings import Code, Severity
from haikud.engine.upkeep.prune import Wish, prune_plans
from haikud.spool.models import read_model
from haikud.workspace.ownership import owners_folder
from haikud.workspace.private_git import attach_private_git

HOLDS_A_CLAIM = """
import sys, time
from pathlib import Path
from haikud.spool.claims import take_claim, write_runner_identity
folder = Path(sys.argv[1])
held = take_claim(folder / "claim")
write_runner_identity(folder / "runner.json", "0")
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def lived(lived_in: LivedIn):
    yield lived_in
    lived_in.put_back("project")


def order_of(lived: LivedIn, ref: str) -> WorkspaceOrder:
    plan, form = lived.store.plan(ref), read_model(lived.layout.format_file, SpoolFormat)
    assert plan is not None
    assert form is not None
    order = build_workspace(plan, plan.tasks[0], lived.layout.task(ref), form.spool_id)
    assert order is not None
    return order


def common(lived: LivedIn) -> Path:
    return lived.house.repository / ".git"


def seen(lived: LivedIn, code: Code, severity: Severity) -> None:
    found = lived.look()
    assert set(found) == {code}
    assert [one.severity for one in found[code]] == [severity]
    assert found[code][0].cure


def mended(lived: LivedIn, code: Code) -> str:
    done, left = lived.repair()
    assert left == []
    assert {one.code for one in done} == {code}
    assert lived.look() == {}
    return done[0].message


def test_an_agents_git_that_was_left_in_place(lived: LivedIn):
    order = order_of(lived, "single")
    attach_private_git(order)
    git(Path(order.worktree), "commit", "-q", "--allow-empty", "-m", "Last words")
    seen(lived, Code.GIT_LEFT_ATTACHED, Severity.FAULT)
    assert "took its commits home" in mended(lived, Code.GIT_LEFT_ATTACHED)
    assert git(lived.house.repository, "log", "-1", "--format=%s", "feature/single") == "Last words"


def test_a_worktree_whose_folder_is_gone(lived: LivedIn):
    shutil.rmtree(order_of(lived, "single").worktree)
    seen(lived, Code.WORKTREE_GONE, Severity.NOTE)
    mended(lived, Code.WORKTREE_GONE)
    assert "worktrees/single" not in git(lived.house.repository, "worktree", "list")
    assert "feature/single" in git(lived.house.repository, "branch")


@pytest.mark.parametrize("name", ["worktrees/single/index.lock", "refs/heads/feature/single.lock"])
def test_a_lock_that_a_killed_git_left(lived: LivedIn, name: str):
    (common(lived) / name).touch()
    seen(lived, Code.GIT_LOCK_LEFT, Severity.NOTE)
    mended(lived, Code.GIT_LOCK_LEFT)


@pytest.mark.parametrize("name", [f".git/haikud/owners/.x.json.{DEAD}-0a1b2c3d", "worktrees/.single.git.haikud-new"])
def test_a_write_in_a_repository_that_was_cut_short(lived: LivedIn, name: str):
    (lived.house.repository / name).touch()
    seen(lived, Code.GIT_TEMPORARY_LEFT, Severity.NOTE)
    mended(lived, Code.GIT_TEMPORARY_LEFT)


def test_work_in_no_branch_is_saved_before_git_clears_it_away(lived: LivedIn):
    head = git(lived.house.repository, "rev-parse", "feature/single")
    git(lived.house.repository, "update-ref", "-d", "refs/heads/feature/single")
    seen(lived, Code.WORK_UNREACHABLE, Severity.FAULT)
    assert mended(lived, Code.WORK_UNREACHABLE) == "kept as refs/haikud/rescue/single"
    assert git(lived.house.repository, "rev-parse", "refs/haikud/rescue/single") == head


def test_a_branch_that_is_merged_may_go_and_one_that_was_rewritten_is_noted(lived: LivedIn):
    git(lived.house.repository, "update-ref", "refs/heads/feature/merged", order_of(lived, "merged").base_sha)
    seen(lived, Code.BRANCH_GONE, Severity.NOTE)
    git(lived.house.repository, "update-ref", "-d", "refs/heads/feature/merged")
    assert lived.look() == {}


def test_a_repository_that_was_moved_is_noted(lived: LivedIn):
    lived.house.repository.rename(lived.root / "elsewhere")
    seen(lived, Code.REPOSITORY_GONE, Severity.NOTE)
    (lived.root / "elsewhere").rename(lived.house.repository)


def test_records_of_ownership_that_say_nothing_or_of_no_task(lived: LivedIn):
    folder = owners_folder(common(lived))
    (folder / "torn.json").write_text("{")
    seen(lived, Code.OWNER_UNREADABLE, Severity.FAULT)
    record = (folder / "single.json").read_text(encoding="utf-8")
    (folder / "torn.json").write_text(record.replace('"ref": "single"', '"ref": "made-by-hand"'))
    seen(lived, Code.OWNER_WITHOUT_TASK, Severity.NOTE)


def test_a_process_of_an_attempt_that_is_over_is_ended(lived: LivedIn):
    out = lived.layout.task("single").attempt(1).out
    process = subprocess.Popen(["sleep", "60"], env={"PATH": os.environ["PATH"], "HAIKUD_OUT": str(out)})
    try:
        wait_until(lambda: Code.PROCESS_LEFT in lived.look(), what="the process to be seen")
        (finding,) = lived.look()[Code.PROCESS_LEFT]
        assert f"{process.pid} sleep 60" in finding.message
        assert finding.ref == "single"
        assert "sleep 60" in mended(lived, Code.PROCESS_LEFT)
        assert process.wait(timeout=10) < 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("place", ["plans/", "elsewhere"])
def test_a_process_that_gave_itself_another_mark_is_ended_too(lived: LivedIn, place: str):
    marker = f"{lived.layout.root}/{place}"
    process = subprocess.Popen(["sleep", "60"], env={"PATH": os.environ["PATH"], "HAIKUD_OUT": marker})
    try:
        wait_until(lambda: Code.PROCESS_LEFT in lived.look(), what="the process to be seen")
        assert prune_plans(lived.layout, Wish(utc_now() - timedelta(days=1))) == []
        assert "sleep 60" in mended(lived, Code.PROCESS_LEFT)
        assert process.wait(timeout=10) < 0
    finally:
        process.kill()
        process.wait()


def test_whoever_holds_the_claim_of_an_attempt_that_is_over_is_ended(lived: LivedIn):
    """As an agent's child that took it: it bears no mark, and nothing says that it is a runner."""
    claim = lived.layout.task("single").attempt(1).claim
    process = subprocess.Popen(["flock", str(claim), "sleep", "60"], env={"PATH": os.environ["PATH"]})
    try:
        wait_until(lambda: Code.CLAIM_HELD in lived.look(), what="the claim to be held")
        mended(lived, Code.CLAIM_HELD)
        assert process.wait(timeout=10) < 0
    finally:
        process.kill()
        process.wait()


def test_a_runner_that_no_decision_knows_is_ended(lived: LivedIn):
    folder = lived.layout.task("single").attempt(1).folder
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS_A_CLAIM, str(folder)], stdout=subprocess.PIPE, env=lived.house.base_environment()
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        seen(lived, Code.CLAIM_HELD, Severity.FAULT)
        mended(lived, Code.CLAIM_HELD)
        assert process.wait(timeout=10) < 0
    finally:
        process.kill()
        process.communicate()


def test_a_runner_that_is_gone_is_the_next_daemons_affair(lived: LivedIn):
    add_decision(lived.path("plans/later/later"), state="running", attempt=1)
    lived.path("tasks/queued/later").rename(lived.path("tasks/running/later"))
    lived.path("plans/later/later/attempt-1").mkdir()
    seen(lived, Code.RUNNER_GONE, Severity.NOTE)
    assert lived.repair()[0] == []


def test_a_write_that_is_under_way_is_left_to_its_writer(lived: LivedIn):
    lived.path(f"responses/.single.json.{os.getpid()}-0a1b2c3d.tmp").touch()
    assert lived.look() == {}
    assert lived.repair() == ([], [])


def test_a_half_state_of_the_moment_is_no_fault_while_a_daemon_runs(lived: LivedIn):
    """A link is missing at the first look and back at the second, as it is while a rename is under way."""
    link, looks = lived.path("tasks/queued/later"), []

    def daemon() -> int:
        looks.append(time.monotonic())
        if len(looks) == 1:
            link.unlink()
        elif not link.is_symlink():
            link.symlink_to("../../plans/later/later")
        return os.getpid()

    from haikud.engine.upkeep.doctor import check_spool

    assert check_spool(lived.layout, daemon=daemon) == []
    assert len(looks) == 2
