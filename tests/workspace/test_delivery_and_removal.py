"""Pushing a branch, listing worktrees, and removing those whose work is safe."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.support.repository import git
from tests.workspace.conftest import SPOOL_ID, commit_file

from haikud.workspace.commits import commit_leftovers
from haikud.workspace.delivery import PushFailed, push_branch
from haikud.workspace.ownership import record_path
from haikud.workspace.private_git import attach_private_git, detach_private_git, harvest
from haikud.workspace.worktrees import WorkInDanger, list_worktrees, prepare_worktree, remove_worktree


@pytest.fixture
def remote(bench, tmp_path) -> Path:
    git(tmp_path, "clone", "-q", "--bare", str(bench.repo), "remote.git")
    git(bench.repo, "remote", "add", "origin", str(tmp_path / "remote.git"))
    return tmp_path / "remote.git"


def test_a_branch_is_pushed_under_its_name(bench, remote):
    order = bench.prepared()
    head = commit_file(Path(order.worktree), "new.py")
    assert push_branch(order, "origin") == head
    assert git(remote, "rev-parse", order.branch) == head
    assert push_branch(order, "origin") == head
    assert git(remote, "for-each-ref", "--format=%(refname)").split() == [
        f"refs/heads/{order.branch}",
        "refs/heads/main",
    ]


def test_a_push_gets_the_secrets_it_is_given_and_nothing_else_that_is_secret(bench, remote, tmp_path, monkeypatch):
    seen, ssh = tmp_path / "seen", tmp_path / "ssh"
    ssh.write_text(f"#!/bin/sh\nenv > {seen}\nps -o args= -p $PPID >> {seen}\nexit 1\n")
    ssh.chmod(0o755)
    git(bench.repo, "remote", "set-url", "origin", "ssh://git@nowhere.invalid/it.git")
    monkeypatch.setenv("DB_PASSWORD", "of-the-daemon-1")
    order = bench.prepared()
    commit_file(Path(order.worktree), "new.py")
    with pytest.raises(PushFailed):
        push_branch(order, secrets={"GIT_SSH_COMMAND": str(ssh), "DEPLOY_TOKEN": "for-the-push-1"})
    found = seen.read_text()
    assert found.count("for-the-push-1") == 1, "in the environment, on no command line"
    assert "of-the-daemon-1" not in found


def test_nothing_is_ever_forced(bench, remote):
    order = bench.prepared()
    commit_file(Path(order.worktree), "new.py")
    push_branch(order)
    git(Path(order.worktree), "commit", "-q", "--amend", "-m", "Other")
    with pytest.raises(PushFailed, match="nothing was forced") as caught:
        push_branch(order)
    assert caught.value.code == "PUSH_REJECTED"
    assert "non-fast-forward" in str(caught.value)


def test_a_remote_that_is_not_there_is_said(bench, remote, tmp_path):
    order = bench.prepared()
    for name in ("upstream", "--receive-pack=x", str(remote)):
        with pytest.raises(PushFailed, match="has no remote") as caught:
            push_branch(order, name)
        assert caught.value.code == "NO_REMOTE"
    git(bench.repo, "remote", "set-url", "origin", str(tmp_path / "gone.git"))
    with pytest.raises(PushFailed, match="failed") as caught:
        push_branch(order)
    assert caught.value.code == "PUSH_FAILED"


def test_what_an_agent_writes_into_its_own_git_has_no_say_in_a_push(bench, remote, tmp_path):
    order = bench.prepared()
    attach_private_git(order)
    head = commit_file(Path(order.worktree), "new.py")
    evil = tmp_path / "evil"
    evil.write_text(f'#!/bin/sh\ntouch {tmp_path}/ran\nexec "$@"\n')
    evil.chmod(0o755)
    git(tmp_path, "init", "-q", "--bare", "stolen.git")
    lines = f"""
        [remote "origin"]
            url = {tmp_path}/stolen.git
            pushurl = {tmp_path}/stolen.git
            receivepack = {evil} git-receive-pack
            uploadpack = {evil} git-upload-pack
        [url "{tmp_path}/stolen.git"]
            insteadOf = {remote}
        [credential]
            helper = {evil}
        [core]
            sshCommand = {evil}
            askPass = {evil}
            fsmonitor = {evil}
            hooksPath = {tmp_path}
        [uploadpack]
            packObjectsHook = {evil}
        [gpg]
            program = {evil}
        [push]
            gpgSign = true
        [filter "evil"]
            clean = {evil} cat
    """
    for place in (Path(order.private_git), Path(order.worktree)):
        for name in ("config", "config.worktree", ".gitconfig"):
            with (place / name).open("a") as config:
                config.write(lines)
        (place / "hooks").mkdir(exist_ok=True)
        for name in ("pre-push", "reference-transaction", "post-checkout"):
            shutil.copy(evil, place / "hooks" / name)
    (Path(order.private_git) / "info").mkdir(exist_ok=True)
    (Path(order.private_git) / "info" / "attributes").write_text("* filter=evil\n")
    warned = harvest(order)
    assert push_branch(order) == head, warned
    assert git(remote, "rev-parse", order.branch) == head
    assert git(tmp_path / "stolen.git", "for-each-ref") == ""
    assert not (tmp_path / "ran").exists()


def test_a_pre_push_hook_does_not_run(bench, remote, tmp_path):
    hook = bench.repo / ".git" / "hooks" / "pre-push"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch '{tmp_path}/canary'\n")
    hook.chmod(0o755)
    push_branch(bench.prepared())
    assert not (tmp_path / "canary").exists()


def test_worktrees_are_listed(bench):
    bench.prepared("a")
    order = bench.attached("b")
    first, second = list_worktrees(order.git_common_dir)
    assert (first.ref, first.branch, first.spool_id, first.present) == ("a", "feature/a", SPOOL_ID, True)
    assert (first.at_work, second.at_work) == (False, True)
    assert first.head_sha == first.start_sha == bench.head()
    assert list_worktrees(bench.spool) == []


def gone(bench, order) -> bool:
    branches = git(bench.repo, "branch", "--list", order.branch)
    known = git(bench.repo, "worktree", "list")
    return not (branches or Path(order.worktree).exists() or order.worktree in known or record_path(order).exists())


def test_without_work_it_is_removed_with_ignored_and_copied_files(bench):
    order = bench.prepared()
    worktree = Path(order.worktree)
    (worktree / "x.log").write_text("ignored")
    (worktree / ".env").write_text("copied")
    cache = worktree / "cache.log"
    cache.mkdir()
    (cache / "x").write_text("x")
    cache.chmod(0o500)
    remove_worktree(order, [".env"])
    assert gone(bench, order)
    assert prepare_worktree(order).created


def test_uncommitted_work_is_never_removed(bench):
    order = bench.prepared()
    (Path(order.worktree) / "new.py").write_text("x")
    with pytest.raises(WorkInDanger, match=r"uncommitted work: new\.py"):
        remove_worktree(order)
    commit_leftovers(order, "Left")
    with pytest.raises(WorkInDanger, match="1 commit\\(s\\) that are neither merged into main nor pushed"):
        remove_worktree(order)
    assert (Path(order.worktree) / "new.py").exists()


def test_merged_or_pushed_work_may_go(bench, remote):
    merged, pushed = bench.prepared("a"), bench.prepared("b")
    for order in (merged, pushed):
        commit_file(Path(order.worktree), "new.py")
    git(bench.repo, "merge", "-q", merged.branch)
    push_branch(pushed)
    for order in (merged, pushed):
        remove_worktree(order)
        assert gone(bench, order)


def test_the_branch_can_stay(bench):
    order = bench.prepared()
    head = commit_file(Path(order.worktree), "new.py")
    remove_worktree(order, keep_branch=True)
    assert bench.head(order.branch) == head
    assert not Path(order.worktree).exists()


def test_where_an_attempt_is_at_work_nothing_is_removed(bench):
    order = bench.attached()
    with pytest.raises(WorkInDanger, match="at work"):
        remove_worktree(order)
    harvest(order)
    remove_worktree(order)


def test_commits_that_wait_in_the_agents_git_are_seen_to_first(bench):
    order = bench.attached()
    head = commit_file(Path(order.worktree), "new.py")
    detach_private_git(order)
    with pytest.raises(WorkInDanger):
        remove_worktree(order)
    assert bench.head(order.branch) == head


def remote_hook(remote: Path, name: str, script: str) -> None:
    path = remote / "hooks" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_a_push_whose_answer_was_lost_is_looked_up(bench, remote):
    order = bench.prepared()
    head = commit_file(Path(order.worktree), "new.py")
    remote_hook(remote, "post-receive", 'kill -9 "$PPID"')  # the other end dies when the branch has arrived
    assert push_branch(order) == head
    assert git(remote, "rev-parse", order.branch) == head


def test_a_push_that_was_cut_off_is_made_again(bench, remote):
    order = bench.prepared()
    head = commit_file(Path(order.worktree), "new.py")
    remote_hook(remote, "pre-receive", 'kill -9 "$PPID"')
    with pytest.raises(PushFailed) as caught:
        push_branch(order)
    assert caught.value.code == "PUSH_FAILED"
    (remote / "hooks" / "pre-receive").unlink()
    assert push_branch(order) == head
    assert git(remote, "rev-parse", order.branch) == head
