"""git as haikud runs it."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from tests.support.waiting import wait_until

from haikud.workspace.git import Git, GitError, GitKilled, clean_environment
from haikud.workspace.repository import inspect_repository, resolve


def script(folder, name, text):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def has_ended(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_failure_names_command_code_and_reason(bench):
    with pytest.raises(GitError) as caught:
        Git(bench.repo / ".git").run("rev-parse", "--verify", "no-such-thing")
    error = caught.value
    assert error.exit_code == 128
    assert error.command == "git rev-parse --verify no-such-thing"
    assert "Needed a single revision" in str(error)
    assert error.code == "GIT_ERROR"


def test_a_killed_git_has_said_neither_yes_nor_no(bench, tmp_path, monkeypatch):
    script(tmp_path, "git", "kill -9 $$")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    git = Git(bench.repo / ".git")
    for call in (lambda: git.ask("merge-base", ok=None), lambda: git.holds("merge-base"), lambda: resolve(git, "HEAD")):
        with pytest.raises(GitKilled, match="signal 9"):
            call()
    with pytest.raises(GitKilled):
        inspect_repository(bench.repo)


def test_credentials_in_urls_are_never_shown(bench):
    with pytest.raises(GitError) as caught:
        Git(bench.repo / ".git").run("ls-remote", "http://me:s3cret@127.0.0.1:1/x.git")
    assert "s3cret" not in str(caught.value) + caught.value.command + caught.value.stderr
    assert "***@127.0.0.1" in caught.value.command


def test_nothing_is_inherited_from_the_environment(bench, monkeypatch):
    head = bench.head()
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-secret")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/nowhere")
    assert Git(bench.repo / ".git").line("rev-parse", "main") == head
    assert not {"GIT_DIR", "GIT_INDEX_FILE", "ANTHROPIC_API_KEY", "SSH_AUTH_SOCK"} & set(clean_environment())


def test_large_binary_input_and_output_come_through_whole(bench):
    git = Git(bench.repo / ".git")
    blob = os.urandom(1 << 20) * 12
    oid = git.ask("hash-object", "-w", "--stdin", stdin=blob).text.strip()
    assert git.ask("cat-file", "blob", oid).stdout == blob


def test_over_its_time_it_is_ended_with_all_it_started(bench, tmp_path):
    pid_file = tmp_path / "pid"
    slow = script(tmp_path, "slow", f"sleep 300 & echo $! > '{pid_file}'; wait")
    began = time.monotonic()
    with pytest.raises(GitError, match="was ended after 1 s") as caught:
        Git(bench.repo / ".git").ask("slow", settings=(f"alias.slow=!{slow}",), timeout=0.7)
    assert caught.value.exit_code is None
    assert time.monotonic() - began < 10
    child = int(pid_file.read_text())
    wait_until(lambda: has_ended(child), what="the end of what it started")


def test_what_stays_in_the_background_does_not_hold_the_call(bench, tmp_path):
    script(tmp_path, "quick", "sleep 20 & echo done")
    began = time.monotonic()
    assert Git(bench.repo / ".git").ask("q", settings=(f"alias.q=!'{tmp_path}/quick'",)).text == "done\n"
    assert time.monotonic() - began < 10


def test_no_terminal_and_no_input(bench):
    output = Git(bench.repo / ".git").ask(
        "t", settings=("alias.t=!cat; tty; test -e /dev/tty && cat < /dev/tty",), ok=None
    )
    assert "not a tty" in output.text


def test_hooks_of_the_repository_do_not_run(bench, tmp_path):
    hooks = bench.repo / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    script(hooks, "reference-transaction", f"touch '{tmp_path}/canary'")
    Git(bench.repo / ".git").run("update-ref", "refs/heads/other", "main")
    assert not (tmp_path / "canary").exists()


def test_from_threads_and_event_loops_and_nothing_is_left(bench):
    git = Git(bench.repo / ".git")

    def ask(_=None):
        return git.line("rev-parse", "main")

    async def inside_a_loop():
        return [ask(), *await asyncio.gather(*(asyncio.to_thread(ask) for _ in range(8)))]

    ask()
    children = psutil.Process().children()  # of other tests in this process
    before = len(list(Path("/proc/self/fd").iterdir()))
    with ThreadPoolExecutor(8) as pool:
        heads = set(pool.map(ask, range(24)))
    heads |= set(asyncio.run(inside_a_loop()))
    assert heads == {bench.head()}
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert [t for t in threading.enumerate() if "pid" in t.name] == []
    assert psutil.Process().children() == children


def test_a_call_costs_little(bench):
    git = Git(bench.repo / ".git")
    times = []
    for _ in range(15):
        began = time.perf_counter()
        git.run("rev-parse", "main")
        times.append(time.perf_counter() - began)
    assert min(times) < 0.05  # measured: 5 ms, git itself 1.5; sh's own `_timeout` would make it 100


def test_a_missing_git_or_folder_is_said(bench, monkeypatch):
    with pytest.raises(GitError, match="could not start in /no/such/folder"):
        Git(None, cwd="/no/such/folder").run("version")
    monkeypatch.setenv("PATH", "/no/such/folder")
    with pytest.raises(GitError, match="git is not installed"):
        Git(None).run("version")
