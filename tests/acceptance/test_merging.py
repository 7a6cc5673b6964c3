"""`haikud merge`: a green plan, a conflict, tests that fail together, and a main branch that never moves half."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest
from tests.support.finished import FinishedPlan
from tests.support.processes import members
from tests.support.repository import git
from tests.support.waiting import wait_until

from haikud.contracts.settings import Settings
from haikud.contracts.states import TaskState
from haikud.engine.attempts.specs import build_workspace
from haikud.engine.merging import walls
from haikud.engine.merging.choice import NotMergeable
from haikud.engine.merging.merge import Blocked
from haikud.engine.merging.places import clear_merge_of
from haikud.engine.upkeep.doctor import check_spool
from haikud.engine.upkeep.findings import Code, Finding
from haikud.engine.upkeep.look import look_at_spool, read_plan
from haikud.engine.upkeep.repair import mend
from haikud.sandbox.bwrap import find_bwrap
from haikud.sandbox.landlock import landlock_abi
from haikud.sandbox.probe import Probed
from haikud.spool.store import Store
from haikud.workspace.main_branch import CannotMove, move_branch
from haikud.workspace.merge_place import MergeIsRunning, make_merge_place, merge_lock

ADD = "def add(a, b):\n    return a + b\n"
SUB = "\n\ndef sub(a, b):\n    return a - b\n"
MUL = "\n\ndef mul(a, b):\n    return a * b\n"


@pytest.fixture
def plan(tmp_path: Path) -> FinishedPlan:
    return FinishedPlan(tmp_path / "a place")


def test_a_green_plan_is_merged_with_its_dependencies_first_and_a_merge_commit_for_each(plan: FinishedPlan):
    plan.task("first", {"first.py": "1\n"})
    plan.task("second", {"second.py": "2\n"}, after=("first",))
    plan.admit(order=["second", "first"])
    report = plan.merge()
    assert plan.subjects() == ["Start", "Merge p.first: Do the first", "Merge p.second: Do the second"]
    assert (plan.repository / "second.py").read_text() == "2\n"
    assert git(plan.repository, "status", "--porcelain") == ""
    (one,) = report.repositories
    assert one.runs[0].passed
    assert b"OK" in plan.printed
    assert plan.places() == []
    assert [entry["event"] for entry in plan.ledger()] == ["merged"]
    before = plan.head()
    assert not plan.merge().repositories[0].is_needed  # the same again finds it merged
    assert plan.head() == before


def test_a_conflict_stops_it_with_both_branches_the_files_and_the_hunks(plan: FinishedPlan):
    plan.task("free", {"free.py": "1\n"})
    plan.task("left", {"calc.py": ADD + SUB})
    plan.task("right", {"calc.py": ADD + MUL})
    before = plan.admit().head()
    with pytest.raises(Blocked) as caught:
        plan.merge()
    payload = caught.value.payload
    assert payload.ref == "p.right"
    assert payload.blocker == "Merge conflict between feature/p.right and feature/p.left in calc.py"
    for part in ("CONFLICT (content)", "<<<<<<< main", "return a - b", "return a * b", ">>>>>>> feature/p.right"):
        assert part in payload.error_details
    assert "feature/p.right" in payload.recommendation
    assert "feature/p.left" in payload.recommendation
    assert payload.cost_so_far == pytest.approx(0.03)
    assert caught.value.message.status == "blocked"
    assert caught.value.message.message_type == "escalation"
    assert plan.head() == before
    assert git(plan.repository, "status", "--porcelain") == ""
    assert plan.ledger()[-1]["event"] == "merge_blocked"
    git(plan.repository, "switch", "-q", "feature/p.right")  # resolved as the report says, it goes on
    git(plan.repository, "merge", "-q", "-X", "ours", "feature/p.left")
    git(plan.repository, "switch", "-q", "main")
    plan.merge()
    assert plan.subjects()[-1] == "Merge p.right: Do the right"


def test_branches_that_are_green_alone_and_red_together_change_nothing(plan: FinishedPlan):
    check = "test ! -e left.py -o ! -e right.py || { echo both are there; exit 7; }"
    for name in ("left", "right"):
        plan.task(name, {f"{name}.py": "1\n"}, test_command=check)
    before = plan.admit().head()
    with pytest.raises(Blocked) as caught:
        plan.merge()
    payload = caught.value.payload
    assert "exited with 7" in payload.blocker
    assert "feature/p.left + feature/p.right" in payload.blocker
    assert "both are there" in payload.error_details
    assert sum("once more" in line for line in plan.said) == 1  # in case they are flaky
    assert plan.head() == before
    assert plan.places() == []
    plan.merge(test_command="true")
    assert len(plan.subjects()) == 3


def test_the_tests_run_apart_from_the_repository_and_from_our_environment(plan: FinishedPlan):
    script = (
        "env > ../../seen; git log -1 --format=%s > ../../log; git branch stray; git commit -qm x --allow-empty;"
        " (sleep 300 & echo $! > ../../left)"
    )
    plan.task("only", {"only.py": "1\n"}, test_command=script)
    plan.admit()
    plan.merge(Settings.model_validate({"environment": {"pass_names": ["MINE", "ANTHROPIC_API_KEY"]}}))
    folder = plan.repository / "worktrees"
    seen = dict(line.partition("=")[::2] for line in (folder / "seen").read_text().splitlines())
    assert "ANTHROPIC_API_KEY" not in seen
    assert seen["MINE"] == "shared"
    assert seen["HOME"] == str(folder / ".merge-p" / "home")
    assert seen["MAIN_BRANCH"] == "main"
    assert (folder / "log").read_text() == "Merge p.only: Do the only\n"
    assert git(plan.repository, "branch", "--list", "stray") == ""
    assert plan.subjects()[-1] == "Merge p.only: Do the only"
    assert members(str(folder / ".merge-p")) == []  # the sleep too


@pytest.mark.skipif(not find_bwrap() and not landlock_abi(), reason="no sandbox works here")
def test_the_tests_run_in_the_settings_sandbox(plan: FinishedPlan):
    outside = plan.repository / "outside"
    script = f"git status && touch seen && ! cat '{plan.layout.format_file}' && ! touch '{outside}'"
    plan.task("only", {"only.py": "1\n"}, test_command=script)
    plan.admit()
    plan.merge(Settings.model_validate({"sandbox": {"mode": "auto"}}))
    assert any(line in {"sandbox bwrap", "sandbox landlock"} or "sandbox landlock (" in line for line in plan.said)
    assert not outside.exists()
    assert plan.subjects()[-1] == "Merge p.only: Do the only"


def test_where_no_sandbox_works_nothing_is_run_or_moved(plan: FinishedPlan, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(walls, "probe", lambda *_: Probed(None, ("bwrap: refused",), ("allow it",)))
    plan.task("only", {"only.py": "1\n"}, test_command="touch ../../ran")
    before = plan.admit().head()
    with pytest.raises(NotMergeable, match="bwrap: refused") as caught:
        plan.merge()
    assert "allow it" in caught.value.advice
    assert plan.head() == before
    assert not (plan.repository / "worktrees" / "ran").exists()
    assert plan.places() == []


def test_a_dirty_checkout_is_refused_and_left_as_it_is(plan: FinishedPlan):
    plan.task("one", {"calc.py": ADD + SUB, "new.py": "1\n"})
    before = plan.admit().head()
    calc = plan.repository / "calc.py"
    calc.write_text(ADD + "# mine\n")
    with pytest.raises(CannotMove, match=r"not committed: calc\.py"):
        plan.merge()
    assert plan.printed == b""  # before any test
    calc.write_text(ADD)
    (plan.repository / "new.py").write_text("mine\n")
    with pytest.raises(CannotMove, match=r"untracked .*new\.py"):
        plan.merge()
    assert (plan.repository / "new.py").read_text() == "mine\n"
    (plan.repository / "new.py").unlink()
    (plan.repository / ".git" / "MERGE_HEAD").write_text(before + "\n")
    with pytest.raises(CannotMove, match="a merge is under way"):
        plan.merge()
    (plan.repository / ".git" / "MERGE_HEAD").unlink()
    assert plan.head() == before
    plan.merge()
    assert calc.read_text() == ADD + SUB


def test_what_a_move_that_was_cut_short_left_in_the_checkout_does_not_stand_in_its_way(plan: FinishedPlan):
    plan.task("one", {"calc.py": ADD + SUB, "new.py": "1\n"})
    before = plan.admit().head()
    git(plan.repository, "read-tree", "-u", "-m", "HEAD", "feature/p.one")  # files and index, not yet the branch
    git(plan.repository, "read-tree", "HEAD")  # nor the index
    git(plan.repository, "config", "branch.main.mergeOptions", "-s ours")  # which would throw the work away
    (plan.repository / "new.py").write_text("2\n")
    with pytest.raises(CannotMove, match=r"untracked .*: new\.py$"):  # that is somebody's own
        plan.merge()
    (plan.repository / "new.py").write_text("1\n")
    assert git(plan.repository, "status", "--porcelain") != ""
    assert plan.head() == before
    plan.merge()
    assert git(plan.repository, "status", "--porcelain") == ""
    assert plan.head() != before
    assert plan.subjects()[-1] == "Merge p.one: Do the one"


def test_a_folder_or_submodule_makes_way_for_a_file_only_where_nothing_of_mine_is_in_it(tmp_path: Path):
    def commit() -> str:
        git(tmp_path, "add", "-A")
        git(tmp_path, "-c", "user.name=n", "-c", "user.email=e@x", "commit", "-q", "-m", "m")
        return git(tmp_path, "rev-parse", "HEAD").strip()

    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "old").write_text("1\n")
    start = commit()
    git(tmp_path, "update-index", "--add", "--cacheinfo", f"160000,{start},sub")
    (tmp_path / "sub").mkdir()
    onto = commit()
    git(tmp_path, "switch", "-q", "-c", "result")
    shutil.rmtree(tmp_path / "x")
    (tmp_path / "sub").rmdir()
    (tmp_path / "x").write_text("file\n")
    (tmp_path / "sub").write_text("file\n")
    result = commit()
    git(tmp_path, "switch", "-q", "main")
    for mine, said in ((tmp_path / "x" / "mine", r"untracked .*: x/mine"), (tmp_path / "sub" / "work", "a submodule")):
        mine.parent.mkdir(exist_ok=True)
        mine.write_text("mine\n")
        with pytest.raises(CannotMove, match=said):
            move_branch(tmp_path / ".git", "main", onto, result, "test")
        mine.unlink()
    move_branch(tmp_path / ".git", "main", onto, result, "test")
    assert (tmp_path / "x").read_text() == (tmp_path / "sub").read_text() == "file\n"


def test_a_branch_that_no_checkout_has_out_is_moved_by_itself_and_a_bare_repository_is(plan: FinishedPlan):
    plan.task("one", {"one.py": "1\n"})
    plan.admit()
    git(plan.repository, "branch", "release")
    main, bare = plan.head(), plan.repository
    report = plan.merge(into="release")
    assert report.repositories[0].checkout is None
    assert plan.head() == main
    assert plan.subjects("release")[-1] == "Merge p.one: Do the one"
    (plan.repository / ".git").rename(plan.root / "kept")  # the same repository without a checkout
    shutil.rmtree(bare)
    bare.mkdir()
    (plan.root / "kept").rename(bare / ".git")
    git(bare / ".git", "config", "core.bare", "true")
    plan.merge()
    assert plan.subjects()[-1] == "Merge p.one: Do the one"


def test_a_dry_run_asks_everything_and_changes_nothing(plan: FinishedPlan):
    plan.task("one", {"one.py": "1\n"}, test_command="touch ../ran")
    before = plan.admit().head()
    assert plan.merge(dry=True).repositories[0].is_needed
    assert plan.head() == before
    assert not (plan.repository / "worktrees").exists()
    assert plan.ledger() == []


def test_what_has_not_succeeded_is_named_and_left_out_only_when_asked(plan: FinishedPlan):
    plan.task("good", {"good.py": "1\n"})
    plan.task("bad", {"bad.py": "1\n"}, state=TaskState.FAILED)
    plan.task("open", {"open.py": "1\n"}, state=TaskState.QUEUED)
    before = plan.admit().head()
    with pytest.raises(NotMergeable, match=r"p\.bad is failed .*p\.open is queued") as caught:
        plan.merge()
    assert "haikud retry p.bad" in caught.value.advice
    assert plan.head() == before
    report = plan.merge(partial=True)
    assert [left.ref for left in report.choice.left_out] == ["p.bad", "p.open"]
    assert plan.subjects() == ["Start", "Merge p.good: Do the good"]


def test_of_two_repositories_none_is_moved_before_both_are_well(plan: FinishedPlan):
    other = plan.root / "another"
    shutil.copytree(plan.repository, other, symlinks=True)
    plan.task("here", {"here.py": "1\n"}, test_command="test -e ../../../go")
    plan.task("there", {"there.py": "1\n"}, test_command="true", repository=other)
    before = plan.admit().head()
    with pytest.raises(Blocked):
        plan.merge()
    assert "the test command: exit code 0" in plan.said[3]  # the other's was well, and came first
    assert plan.head() == plan.head(repository=other) == before
    (plan.repository / "go").touch()
    plan.merge()
    assert plan.head() != before
    assert plan.head(repository=other) != before


def test_a_branch_that_was_merged_and_deleted_is_skipped_and_one_that_is_gone_is_named(plan: FinishedPlan):
    plan.task("merged", {"merged.py": "1\n"})
    plan.task("gone", {"gone.py": "1\n"})
    plan.admit()
    git(plan.repository, "merge", "-q", "--no-ff", "-m", "By hand", "feature/p.merged")
    git(plan.repository, "branch", "-q", "-D", "feature/p.merged", "feature/p.gone")
    with pytest.raises(NotMergeable, match=r"feature/p\.gone of p\.gone is gone"):
        plan.merge()


def test_the_checkouts_attributes_say_how_files_merge(plan: FinishedPlan):
    (plan.repository / ".gitattributes").write_text("*.log merge=union\n")
    (plan.repository / "a.log").write_text("start\n")
    git(plan.repository, "add", "-A")
    git(plan.repository, "commit", "-q", "-m", "Attributes")
    for name in ("left", "right"):
        plan.task(name, {"a.log": f"start\n{name}\n"})
    plan.admit().merge()
    assert set((plan.repository / "a.log").read_text().split()) == {"start", "left", "right"}


def test_one_merge_at_a_time_in_a_repository(plan: FinishedPlan):
    plan.task("one", {"one.py": "1\n"})
    plan.admit()
    with merge_lock(plan.repository / ".git"), pytest.raises(MergeIsRunning):
        plan.merge()


def test_killed_while_the_tests_run_it_leaves_main_alone_and_the_next_call_finishes(plan: FinishedPlan):
    go, at_work = plan.root / "go", plan.root / "at-work"
    plan.task("one", {"one.py": "1\n"}, test_command=f"touch '{at_work}'; test -e '{go}' || sleep 300")
    before = plan.admit().head()
    for number in (signal.SIGTERM, signal.SIGKILL):
        process = plan.command()
        wait_until(at_work.exists, what=lambda: f"the tests to run; {process.poll()}")  # noqa: B023 - asked at once
        at_work.unlink()
        process.send_signal(number)
        process.communicate(timeout=20)
        assert plan.head() == before
        assert bool(plan.places()) is (number == signal.SIGKILL)
    assert len(clear_look(plan)) == 1
    assert members(str(plan.repository / "worktrees" / ".merge-p")) != []  # the sleep has outlived its merge
    go.touch()
    done = plan.command("--json")
    out, said = done.communicate(timeout=60)
    assert done.returncode == 0, said
    assert json.loads(out)["repositories"][0]["moved"] is True
    assert plan.head() != before
    assert plan.places() == []
    assert members(str(plan.repository / "worktrees" / ".merge-p")) == []


def test_the_command_prints_the_blocked_report_and_exits_with_3(plan: FinishedPlan):
    plan.task("left", {"calc.py": ADD + SUB})
    plan.task("right", {"calc.py": ADD + MUL})
    before = plan.admit().head()
    done = plan.command()
    out, _ = done.communicate(timeout=60)
    assert done.returncode == 3
    assert "Blocker: Merge conflict between feature/p.right and feature/p.left in calc.py" in out
    assert "<<<<<<< main" in out
    assert "Cost so far: $0.020" in out
    assert plan.head() == before


def test_the_doctor_and_the_prune_clear_away_what_a_killed_merge_left(plan: FinishedPlan):
    plan.task("one", {"one.py": "1\n"})
    plan.admit()
    seen = read_plan(Store(plan.layout), "p")
    assert seen is not None
    order = build_workspace(seen.plan, seen.tasks[0].task, plan.layout.task("p.one"), spool_id(plan))

    def leave() -> None:
        assert order is not None
        make_merge_place(order, "p", "main", plan.head("feature/p.one"), [])
        assert plan.places() != []

    leave()
    with merge_lock(plan.repository / ".git"):  # a merge that is at work is left alone
        assert clear_look(plan) == []
        with pytest.raises(MergeIsRunning):
            clear_merge_of(str(plan.repository / ".git"), "p")
    (found,) = clear_look(plan)
    assert mend(look_at_spool(plan.layout, daemon=lambda: None), [found]) != []
    assert plan.places() == []
    leave()
    clear_merge_of(str(plan.repository / ".git"), "p")
    assert plan.places() == []


def clear_look(plan: FinishedPlan) -> list[Finding]:
    return [one for one in check_spool(plan.layout, daemon=lambda: None) if one.code is Code.MERGE_LEFT]


def spool_id(plan: FinishedPlan) -> str:
    return str(json.loads(plan.layout.format_file.read_bytes())["spool_id"])
