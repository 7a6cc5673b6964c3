"""Prune: finished plans go where nothing is lost; what stays is said; a kill -9 at any step is ended by the next prune."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path

import pytest
from tests.spool.dying import survives
from tests.support.lived_in import LivedIn
from tests.support.repository import git

from haikud.contracts.base import utc_now
from haikud.engine.upkeep.prune import PlanReport, PruneIsRunning, Wish, _one_at_a_time, prune_plans
from haikud.engine.upkeep.rejected import prune_rejected


@pytest.fixture
def lived(lived_in: LivedIn):
    yield lived_in
    lived_in.put_back("project")


def prune(spool: LivedIn, *, age: timedelta = timedelta(seconds=-1), **wish: bool) -> dict[str, PlanReport]:
    return {one.plan_id: one for one in prune_plans(spool.layout, Wish(utc_now() - age, **wish))}


def branches(spool: LivedIn) -> list[str]:
    return git(spool.house.repository, "for-each-ref", "--format=%(refname)").split()


def files_of(spool: LivedIn, plan_id: str) -> list[str]:
    """Everything in the spool that bears a plan's name, but its tombstone."""
    paths = (path for path in spool.layout.root.rglob("*") if plan_id in path.name.replace("-", "."))
    names = [str(path.relative_to(spool.layout.root)) for path in paths]
    return [name for name in names if name != f"plans/.pruned/{plan_id}" and "/attempt" not in name]


def worktree(spool: LivedIn, ref: str) -> Path:
    return spool.house.repository / "worktrees" / ref


def test_what_is_merged_or_has_no_worktree_goes_and_what_holds_work_stays(lived: LivedIn):
    plan = json.loads(lived.path("plans/merged/plan.json").read_bytes())
    reports = prune(lived)
    assert {name for name, one in reports.items() if one.pruned} == {"merged", "pair", "broken"}
    assert set(reports) == {"merged", "pair", "broken", "single"}  # what is open is not spoken of
    (task,) = reports["single"].tasks
    assert task.kept == "feature/single has 1 commit(s) that are neither merged into main nor pushed"

    tombstone = json.loads(lived.path("plans/.pruned/merged").read_bytes())
    assert tombstone["content_sha256"] == plan["content_sha256"]
    assert tombstone["refs"] == ["merged"]
    for name in ("merged", "pair", "broken"):
        assert files_of(lived, name) == []
    assert not worktree(lived, "merged").exists()
    assert branches(lived) == ["refs/heads/feature/single", "refs/heads/main"]
    assert worktree(lived, "single").exists()
    assert lived.path("responses/single.rejected.1.json").exists()
    assert lived.look() == {}
    assert set(prune(lived)) == {"single"}


def test_with_rescue_the_commits_stay_under_a_ref_of_their_own(lived: LivedIn):
    head = git(lived.house.repository, "rev-parse", "feature/single")
    assert prune(lived, rescue=True)["single"].pruned
    assert git(lived.house.repository, "rev-parse", "refs/haikud/rescue/single") == head
    assert json.loads(lived.path("plans/.pruned/single").read_bytes())["rescued"] == {
        "single": "refs/haikud/rescue/single"
    }
    assert "refs/heads/feature/single" not in branches(lived)
    assert not worktree(lived, "single").exists()
    assert lived.path("responses/single.rejected.1.json").exists()  # the answer to another request
    assert lived.look() == {}


def test_what_is_pushed_goes_and_its_branch_stays(lived: LivedIn):
    git(lived.house.repository, "update-ref", "refs/remotes/origin/feature/single", "feature/single")
    report = prune(lived)["single"]
    assert report.pruned
    assert report.tasks[0].branch == "feature/single stays: it is pushed, not merged"
    assert "refs/heads/feature/single" in branches(lived)
    assert json.loads(lived.path("plans/.pruned/single").read_bytes())["branches_kept"] == ["feature/single"]


def test_uncommitted_files_are_work_with_rescue_too(lived: LivedIn):
    (worktree(lived, "merged") / "new.py").write_text("x")
    report = prune(lived, rescue=True)["merged"]
    assert not report.pruned
    assert "holds uncommitted work: new.py" in report.tasks[0].kept
    assert (worktree(lived, "merged") / "new.py").exists()


def test_commits_that_lie_in_the_agents_own_git_alone_are_work(lived: LivedIn):
    private = lived.path("plans/merged/merged/git")
    tree = git(private, "rev-parse", "HEAD^{tree}")
    git(private, "branch", "aside", git(private, "commit-tree", tree, "-m", "Aside"))
    report = prune(lived, rescue=True)["merged"]
    assert "the agent left 1 commit(s) on aside" in report.tasks[0].kept


def test_what_was_set_aside_and_what_an_agent_without_a_worktree_wrote_is_work(lived: LivedIn):
    lived.path("plans/merged/merged/git.refused-1").mkdir()
    made = lived.path("plans/pair/a/attempt-1/out/workspace/report.txt")
    made.write_text("x")
    reports = prune(lived)
    assert "was set aside" in reports["merged"].tasks[0].kept
    report = reports["pair"]
    assert not report.pruned
    assert str(made) in report.tasks[0].kept
    assert report.tasks[1].kept == ""


def test_a_dry_run_says_the_same_and_does_nothing(lived: LivedIn):
    before = sorted(lived.root.rglob("*"))
    dry = prune(lived, dry=True)
    assert sorted(lived.root.rglob("*")) == before
    assert dry == prune(lived)


def test_what_is_young_and_what_someone_asks_for_stays(lived: LivedIn):
    assert prune(lived, age=timedelta(days=1)) == {}
    lived.path("control/.taken-0123456789abcdef-pair.a.retry").touch()
    lived.path("control/broken.retry").touch()
    reports = prune(lived)
    assert "someone has just asked for it" in reports["pair"].why
    assert "someone has just asked for it" in reports["broken"].why
    assert lived.path("plans/broken/plan.json").exists()


def test_one_prune_at_a_time(lived: LivedIn):
    with _one_at_a_time(lived.layout), pytest.raises(PruneIsRunning):
        prune(lived)


def test_what_was_set_aside_goes_where_that_is_asked_for(lived: LivedIn):
    now = utc_now() + timedelta(seconds=1)
    assert prune_rejected(lived.layout, now - timedelta(days=1), dry=False) == []
    assert sorted(prune_rejected(lived.layout, now, dry=True)) == ["bad.json", "single.json"]
    token = json.loads(lived.path("rejected/bad.json.reason.json").read_bytes())["token"]
    lived.path(f"incoming/.taken-{token}-bad.json").touch()
    assert prune_rejected(lived.layout, now, dry=False) == ["single.json"]
    assert sorted(path.name for path in lived.path("rejected").iterdir()) == ["bad.json", "bad.json.reason.json"]
    assert lived.path("responses/single.rejected.1.json").exists()


STEP = int(os.environ.get("HAIKUD_CRASH_STEP", "97"))
"""1 kills before every change of the disk; the default is a sample."""


def test_killed_at_any_step_the_next_prune_ends_what_was_begun(lived: LivedIn):
    head = git(lived.house.repository, "rev-parse", "feature/single")
    step = 1 + STEP // 4
    while not survives(lambda: prune(lived, rescue=True), step):
        for name in ("single", "pair", "merged", "broken"):  # an id is never free in between
            assert lived.store.has_plan(name) or lived.store.is_pruned(name), (name, step)
        prune(lived, rescue=True)
        check_pruned(lived, head)
        lived.put_back("project")
        step += STEP


def test_killed_again_and_again_it_ends_too(lived: LivedIn):
    head = git(lived.house.repository, "rev-parse", "feature/single")
    step = 31
    while not survives(lambda: prune(lived, rescue=True), step):
        step += 31
    check_pruned(lived, head)


def check_pruned(spool: LivedIn, head: str) -> None:
    """Nothing is left but the tombstones and the rescued commits."""
    repository = spool.house.repository
    assert git(repository, "rev-parse", "refs/haikud/rescue/single") == head
    for name in ("merged", "pair", "broken"):
        assert files_of(spool, name) == []
        assert json.loads(spool.path(f"plans/.pruned/{name}").read_bytes())["plan_id"] == name
    assert not spool.path("plans/single").exists()
    assert branches(spool) == ["refs/haikud/rescue/single", "refs/heads/main"]
    assert git(repository, "worktree", "list", "--porcelain").count("worktree ") == 1
    assert list((repository / "worktrees").iterdir()) == []
    assert spool.look() == {}
