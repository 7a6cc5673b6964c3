"""The shell tool with real processes."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.waiting import wait_until

from haikud.agent.events import EventLog
from haikud.agent.haiku.tools.bash import BashTool, Shell
from haikud.agent.haiku.tools.outcome import BadInput
from haikud.contracts.settings import LimitSettings
from haikud.sandbox.isolation import NO_SANDBOX
from haikud.spool.agent_log import AgentLog


@pytest.fixture
def shell(tmp_path: Path):
    worktree, out = tmp_path / "work tree's", tmp_path / "out"
    worktree.mkdir()
    out.mkdir()
    log = AgentLog(tmp_path / "agent.log")
    stop = threading.Event()
    yield Shell(
        worktree=worktree,
        environment={"PATH": "/usr/bin:/bin", "HAIKUD_OUT": str(out), "HOME": str(tmp_path)},
        limits=LimitSettings.model_validate({"tool_seconds": 20, "grace_seconds": 0.2, "tool_output_bytes": 1024}),
        sandbox=NO_SANDBOX,
        log=log,
        events=EventLog(tmp_path / "events.jsonl"),
        stop=stop.is_set,
    )
    log.close()


def test_output_and_exit_code_come_back_and_go_to_the_log(shell: Shell, tmp_path: Path):
    outcome = BashTool(shell).use({"command": "echo out; echo err >&2; printf 'tokens_used 9'; exit 3"})
    assert outcome.text == "out\nerr\ntokens_used 9\n[exit code 3]"
    assert outcome.is_error
    log = (tmp_path / "agent.log").read_text()
    assert "agent | out\nagent | err\n" in log
    assert "tokens_used" not in log


def test_silence_is_said(shell: Shell):
    outcome = BashTool(shell).use({"command": "true"})
    assert (outcome.text, outcome.is_error) == ("(no output)", False)


def test_the_directory_is_carried_over_and_variables_are_not(shell: Shell):
    tool = BashTool(shell)
    tool.use({"command": "mkdir -p 'a b/c'; cd 'a b/c'; export X=1; exit 7"})
    assert tool.use({"command": "pwd; echo X=$X"}).text == f"{shell.worktree}/a b/c\nX="
    tool.use({"restart": True})
    assert tool.use({"command": "pwd"}).text == str(shell.worktree)


def test_a_directory_outside_the_worktree_is_not_kept(shell: Shell):
    tool = BashTool(shell)
    assert "beneath the worktree" in tool.use({"command": "cd /"}).text
    assert tool.use({"command": "pwd"}).text == str(shell.worktree)


def test_a_directory_that_is_gone_is_told(shell: Shell):
    tool = BashTool(shell)
    tool.use({"command": "mkdir gone; cd gone"})
    (shell.worktree / "gone").rmdir()
    outcome = tool.use({"command": "pwd"})
    assert outcome.text.startswith(str(shell.worktree))
    assert "is gone" in outcome.text


@pytest.mark.parametrize("forged", ["ln -sf /etc/passwd $HAIKUD_OUT/.cwd", "mkfifo $HAIKUD_OUT/.cwd"])
def test_a_forged_record_of_the_directory_does_no_harm(shell: Shell, forged: str):
    tool = BashTool(shell)
    tool.use({"command": f"trap - EXIT; {forged}"})
    assert tool.use({"command": "pwd"}).text == str(shell.worktree)


def test_the_line_numbers_of_bash_are_those_of_the_command(shell: Shell):
    assert "line 2:" in BashTool(shell).use({"command": "true\nno_such_command_here"}).text


def test_heredocs_and_comments_pass_unharmed(shell: Shell):
    command = "# a comment\ncat > f <<'EOF'\n$HOME `x` '\nEOF\ncat f"
    assert BashTool(shell).use({"command": command}).text == "$HOME `x` '"


def test_a_command_over_its_time_is_ended_with_all_that_it_started(shell: Shell):
    limits = shell.limits.model_copy(update={"tool_seconds": 0.3})
    tool = BashTool(replace(shell, limits=limits))
    outcome = tool.use({"command": "echo begun; setsid sleep 300 & sleep 300"})
    assert outcome.is_error
    assert outcome.text.startswith("begun\n[not finished after 0.3 s")
    assert not outcome.stopped


def test_what_is_left_in_the_background_is_ended_and_told(shell: Shell):
    outcome = BashTool(shell).use({"command": "sleep 300 & echo done"})
    assert outcome.text.startswith("done")
    assert "sleep 300" in outcome.text


def test_a_stop_ends_the_command(shell: Shell):
    stop = threading.Event()
    tool = BashTool(replace(shell, stop=stop.is_set))
    thread = threading.Thread(target=lambda: (wait_until((shell.worktree / "begun").exists), stop.set()))
    thread.start()
    outcome = tool.use({"command": "touch begun; sleep 300"})
    thread.join()
    assert outcome.stopped


def test_a_command_too_long_for_the_system_is_a_result(shell: Shell):
    outcome = BashTool(shell).use({"command": f"echo {'x' * 200_000}"})
    assert outcome.is_error
    assert "editor" in outcome.text


@pytest.mark.parametrize("given", [{}, {"command": ""}, {"command": 7}, {"command": None}])
def test_a_call_without_a_command_is_bad_input(shell: Shell, given: dict):
    with pytest.raises(BadInput):
        BashTool(shell).use(given)


def test_long_output_keeps_its_head_and_tail(shell: Shell):
    text = BashTool(shell).use({"command": "seq 1 100000"}).text
    assert text.startswith("1\n2\n3\n")
    assert text.endswith("99999\n100000")
    assert "bytes left out here" in text
    assert len(text) < 1500
