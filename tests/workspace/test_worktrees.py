"""One worktree and branch per task."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.support.repository import git
from tests.workspace.conftest import SPOOL_ID, commit_file, status

from haikud.workspace.checks import WorkspaceMismatch
from haikud.workspace.commits import merge_dependencies
from haikud.workspace.ownership import BranchTaken, expect_owner, record_path, update_owner
from haikud.workspace.private_git import attach_private_git
from haikud.workspace.repository_lock import RepositoryIsBusy, repository_lock
from haikud.workspace.worktrees import prepare_worktree, worktree_path


def test_a_branch_and_a_worktree_are_made_from_the_base(bench):
    order = bench.order()
    base = bench.head()
    git(bench.repo, "commit", "-q", "--allow-empty", "-m", "Main goes on")
    prepared = prepare_worktree(order)
    assert prepared.created
    assert prepared.start_sha == prepared.branch_tip == base == bench.head("feature/plan-1.task-1")
    worktree = bench.repo / "worktrees" / "plan-1.task-1"
    assert order.worktree == str(worktree)
    assert status(worktree) == []
    assert git(worktree, "branch", "--show-current") == "feature/plan-1.task-1"
    assert git(worktree, "status", "-sb") == "## feature/plan-1.task-1"  # no upstream
    record = json.loads(record_path(order).read_text())
    assert (record["spool_id"], record["ref"], record["stage"]) == (SPOOL_ID, "plan-1.task-1", "ready")


def test_the_checkout_does_not_see_its_worktrees(bench):
    bench.prepared("a")
    bench.prepared("b")
    assert status(bench.repo) == []
    exclude = (bench.repo / ".git" / "info" / "exclude").read_text()
    assert exclude.splitlines().count("/worktrees/") == 1


def test_the_second_call_continues(bench):
    order = bench.prepared()
    work = commit_file(Path(order.worktree), "new.py")
    (Path(order.worktree) / "app.py").write_text("half done\n")
    again = prepare_worktree(order)
    assert not again.created
    assert (again.start_sha, again.branch_tip) == (order.base_sha, work)
    assert status(order.worktree) == [" M app.py"]


def test_a_branch_that_is_not_ours_is_never_used(bench):
    git(bench.repo, "branch", "feature/plan-1.task-1")
    with pytest.raises(BranchTaken, match="exists and is not haikud's"):
        prepare_worktree(bench.order())
    assert not (bench.repo / "worktrees").exists()
    assert not record_path(bench.order()).exists()


def test_a_folder_that_is_not_ours_is_never_used(bench):
    order = bench.order()
    Path(order.worktree).mkdir(parents=True)
    with pytest.raises(BranchTaken, match="move it away"):
        prepare_worktree(order)


def test_two_spools_cannot_take_the_same(bench):
    order = bench.prepared()
    other = order.model_copy(update={"spool_id": "22222222-2222-4222-8222-222222222222"})
    with pytest.raises(BranchTaken, match=f"belongs to the haikud spool {SPOOL_ID}"):
        prepare_worktree(other)
    git(bench.repo, "worktree", "remove", order.worktree)
    with pytest.raises(BranchTaken):  # its branch still holds work
        prepare_worktree(other)
    git(bench.repo, "branch", "-D", order.branch)
    assert prepare_worktree(other).created
    with pytest.raises(BranchTaken, match="22222222"):
        prepare_worktree(order)


def test_a_folder_that_someone_deleted_is_made_again_from_the_branch(bench):
    order = bench.prepared()
    work = commit_file(Path(order.worktree), "new.py")
    shutil.rmtree(order.worktree)
    again = prepare_worktree(order)
    assert again.created
    assert (again.start_sha, again.branch_tip) == (order.base_sha, work)
    assert (Path(order.worktree) / "new.py").exists()
    assert status(order.worktree) == []


@pytest.mark.parametrize("pruned", [False, True])
def test_commits_that_waited_in_a_deleted_folder_are_taken_over_before_it_is_made_again(bench, pruned):
    order = bench.attached()
    head = commit_file(Path(order.worktree), "new.txt")
    shutil.rmtree(order.worktree)
    if pruned:
        git(bench.repo, "worktree", "unlock", order.worktree)
        git(bench.repo, "worktree", "prune")
    prepared = prepare_worktree(order)
    assert (prepared.branch_tip, prepared.created) == (head, True)
    assert "is gone" in prepared.warnings[0]
    attach_private_git(order, index_is_right=True)
    assert status(order.worktree) == []  # not the commit's undoing


def test_after_branch_and_folder_were_deleted_the_task_begins_anew(bench):
    order = bench.prepared()
    commit_file(Path(order.worktree), "new.py")
    git(bench.repo, "worktree", "remove", "--force", order.worktree)
    git(bench.repo, "branch", "-D", order.branch)
    again = prepare_worktree(order)
    assert again.created
    assert again.branch_tip == order.base_sha


def test_a_deleted_branch_is_made_again_and_files_stay(bench):
    order = bench.prepared()
    commit_file(Path(order.worktree), "new.py")
    git(bench.repo, "update-ref", "-d", f"refs/heads/{order.branch}")
    again = prepare_worktree(order)
    assert not again.created
    assert (Path(order.worktree) / "new.py").exists()


def test_a_worktree_that_is_not_what_the_order_says_is_refused(bench, tmp_path):
    order = bench.prepared("a")
    git(Path(order.worktree), "switch", "-qc", "elsewhere")
    with pytest.raises(WorkspaceMismatch, match="is on refs/heads/elsewhere, not on feature/a"):
        prepare_worktree(order)
    order = bench.prepared("b")
    Path(order.worktree).rename(tmp_path / "moved")
    Path(order.worktree).symlink_to(tmp_path / "moved")
    with pytest.raises(WorkspaceMismatch, match="is not a folder"):
        prepare_worktree(order)
    order = bench.prepared("c")
    (Path(order.worktree) / ".git").write_text("gitdir: /elsewhere\n")
    with pytest.raises(WorkspaceMismatch, match="does not name"):
        prepare_worktree(order)
    order = bench.prepared("d")
    with pytest.raises(BranchTaken, match="set worktree_root back"):
        prepare_worktree(order.model_copy(update={"worktree": str(tmp_path / "x")}))


def test_a_branch_checked_out_elsewhere_is_left_there(bench, tmp_path):
    order = bench.prepared()
    shutil.rmtree(order.worktree)
    git(bench.repo, "worktree", "prune")
    git(bench.repo, "worktree", "add", "-q", str(tmp_path / "mine"), order.branch)
    with pytest.raises(BranchTaken, match="is checked out elsewhere"):
        prepare_worktree(order)


def test_a_half_checkout_with_someones_file_is_kept_aside(bench):
    order = bench.prepared()
    record = record_path(order)
    record.write_text(record.read_text().replace('"ready"', '"creating"'))
    (Path(order.worktree) / "precious").write_text("mine")
    assert prepare_worktree(order).created
    kept = Path(f"{order.worktree}.kept-1")
    assert (kept / "precious").read_text() == "mine"
    assert not (Path(order.worktree) / "precious").exists()


def test_what_a_killed_git_left_of_an_entry_is_cleared(bench):
    order = bench.prepared()
    record = record_path(order)
    record.write_text(record.read_text().replace('"ready"', '"creating"'))
    entry = bench.repo / ".git" / "worktrees" / "plan-1.task-1"
    (entry / "gitdir").unlink()
    (entry / "locked").write_text("initializing")
    (bench.repo / ".git" / "refs" / "heads" / f"{order.branch}.lock").write_text("")
    assert prepare_worktree(order).created
    assert status(order.worktree) == []
    assert [p.name for p in (bench.repo / ".git" / "worktrees").iterdir()] == ["plan-1.task-1"]


def test_places(tmp_path, bench):
    assert worktree_path(bench.repo, "p.t") == bench.repo / "worktrees" / "p.t"
    rooted = worktree_path(bench.repo, "p.t", tmp_path / "root")
    assert rooted.parent.parent == tmp_path / "root"
    assert rooted.parent.name.startswith("the repo ö-")
    order = bench.prepared("p.t", worktree=str(rooted))
    assert status(order.worktree) == []
    assert not (bench.repo / ".git" / "info" / "exclude").exists()


def test_a_bare_repository_gets_worktrees_too(bench, tmp_path):
    git(tmp_path, "clone", "-q", "--bare", str(bench.repo), "bare.git")
    bench.repo = tmp_path / "bare.git"
    order = bench.prepared("x")
    assert order.worktree == str(tmp_path / "bare.git" / "haikud" / "worktrees" / "x")
    assert status(order.worktree) == []


def test_eight_threads_at_once(bench):
    orders = [bench.order(f"p.t{n}") for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert all(prepared.created for prepared in pool.map(prepare_worktree, orders))
    assert all(status(order.worktree) == [] for order in orders)


def test_eight_processes_at_once(bench):
    code = (
        "import sys; from haikud.contracts.attempt import WorkspaceOrder;"
        "from haikud.workspace.worktrees import prepare_worktree; print('ready', flush=True); sys.stdin.readline();"
        "print(prepare_worktree(WorkspaceOrder.model_validate_json(sys.argv[1])).created)"
    )
    source = Path(__file__).parents[2] / "daemon"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, bench.order(f"p.t{n}").model_dump_json()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=source,
        )
        for n in range(8)
    ]
    for process in processes:
        process.stdout.readline()
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.communicate()[0].strip() for process in processes] == ["True"] * 8
    assert len(list((bench.repo / "worktrees").iterdir())) == 8


def test_of_two_spools_at_once_exactly_one_gets_the_branch(bench):
    orders = [bench.order(spool_id=f"{n}" * 8) for n in range(1, 5)]

    def attempt(order):
        try:
            return prepare_worktree(order).created
        except BranchTaken:
            return False

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(attempt, orders)) == [False, False, False, True]


def test_the_lock_says_who_waits_in_vain(bench):
    with repository_lock(bench.repo / ".git"), pytest.raises(RepositoryIsBusy):  # noqa: SIM117
        with repository_lock(bench.repo / ".git", timeout=0.05):
            pass
    with repository_lock(bench.repo / ".git", timeout=0):
        pass


def test_checkout_uses_the_filters_of_the_user(bench, home):
    git(bench.repo, "config", "--file", str(home / ".gitconfig"), "filter.up.smudge", "tr a-z A-Z")
    (bench.repo / ".gitattributes").write_text("shout.txt filter=up\n")
    (bench.repo / "shout.txt").write_text("loud\n")
    git(bench.repo, "add", "-A")
    git(bench.repo, "commit", "-q", "-m", "Shout")
    order = bench.prepared()
    assert (Path(order.worktree) / "shout.txt").read_text() == "LOUD\n"
    assert expect_owner(order).stage == "ready"


@pytest.mark.parametrize("stage", ["made", "merged"])
def test_no_lock_of_a_killed_git_keeps_a_worktree_from_being_made_or_merged_into(bench, stage):
    commit_file(bench.repo, "other.py")
    git(bench.repo, "branch", "feature/plan-1.other")
    git(bench.repo, "reset", "-q", "--hard", "HEAD^")
    order = bench.order(merge_refs=["feature/plan-1.other"])
    prepare_worktree(order)
    entry = bench.repo / ".git" / "worktrees" / "plan-1.task-1"
    if stage == "made":
        update_owner(order, expect_owner(order), stage="creating")
    (entry / "HEAD.lock").touch()
    prepare_worktree(order)
    merge_dependencies(order)
    assert (Path(order.worktree) / "other.py").exists()
    assert not (entry / "HEAD.lock").exists()
