"""The adapter as a process, with a scripted `claude`: how it is called, what is kept, every exit, every trap."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from tests.support.fake_claude import RECORDED, FakeClaude
from tests.support.waiting import wait_until

from haikud.agent.claude_code import running
from haikud.agent.claude_code.judging import judge
from haikud.agent.claude_code.prompt import system_text
from haikud.agent.claude_code.running import SECONDS_AFTER_RESULT
from haikud.agent.claude_code.stream import Follower


@pytest.fixture
def fake(tmp_path: Path) -> FakeClaude:
    return FakeClaude(tmp_path / "a place")


def recorded_session(name: str) -> str:
    last = (RECORDED / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()[-1]
    return str(json.loads(last)["session_id"])


def after(argv: list[str], option: str) -> str:
    return argv[argv.index(option) + 1]


def test_a_first_run_is_told_the_task_and_nothing_else(fake: FakeClaude):
    (fake.worktree / "CLAUDE.md").write_text("Use tabs.\n", encoding="utf-8")
    fake.plan |= {
        "description": "A difference.",
        "file_details": [{"path": "calc.py", "operation": "modify"}, {"path": "new.py", "template": "module"}],
        "steps": ["write it", "lint it (optional)"],
        "tests": ["3 - 2 is 1"],
        "success_criteria": ["sub is there"],
    }
    fake.says(1, "resumed")
    code, said = fake.run()
    assert code == 0, said
    assert fake.prompt(1) == (
        f"You work in {fake.worktree}, on branch feature/t.\nTask: Add sub\nA difference.\n"
        "Files:\n- calc.py (modify)\n- new.py (template module)\nSteps:\n- write it\n- lint it (optional)\n"
        "A step marked (optional) may be left undone: where it fails, undo it and say so at the end.\n"
        "Tests:\n- 3 - 2 is 1\nSuccess criteria:\n- sub is there\nTest command: make test\n"
        "Worth reading first:\n- CLAUDE.md"
    )
    argv = fake.argv(1)
    assert argv[:2] == ["-p", "--bare"]
    assert after(argv, "--model") == "claude-haiku-5-5"
    assert after(argv, "--permission-mode") == "dontAsk"
    assert after(argv, "--tools") == after(argv, "--allowedTools") == "Bash,Edit,Read"
    assert after(argv, "--max-budget-usd") == "0.500000"
    assert after(argv, "--max-turns") == "100"
    assert "\n".join(argv).count(system_text()) == 1
    assert len(after(argv, "--session-id")) == 36
    saw = fake.saw(1)
    assert saw["CLAUDE_CONFIG_DIR"] == str(fake.out / "keep" / "claude")
    for name in ("DISABLE_TELEMETRY", "DISABLE_AUTOUPDATER", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"):
        assert saw[name] == "1"
    assert (saw["CLAUDE_CODE_MAX_RETRIES"], saw["CLAUDE_CODE_MAX_OUTPUT_TOKENS"]) == ("6", "16000")
    assert fake.report()["summary"] == "Done."
    assert fake.report()["payload"]["claude_code"]["version"] == "2.1.330"
    assert said.splitlines()[0].startswith("Claude Code 2.1.330, ")
    assert {"message": "Bash: sleep 1; pwd"} in [
        json.loads(line) for line in (fake.out / "events.jsonl").read_text(encoding="utf-8").splitlines()
    ]


def test_the_settings_environment_goes_before_the_defaults(fake: FakeClaude):
    fake.says(1, "resumed")
    assert fake.run(CLAUDE_CODE_MAX_OUTPUT_TOKENS="4000", HAIKUD_MAX_TURNS="7", HAIKUD_MAX_COST_USD="0.000000")[0] == 0
    assert fake.saw(1)["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] == "4000"
    assert after(fake.argv(1), "--max-turns") == "7"
    assert "--max-budget-usd" not in fake.argv(1)


def test_the_answer_to_a_question_goes_into_the_same_session(fake: FakeClaude):
    fake.says(1, "denied")
    code, _ = fake.run()
    assert (code, fake.report()["blocker"]) == (79, "denied: WebFetch (http://127.0.0.1:8080/x)")
    guidance = fake.root / "guidance.txt"
    guidance.write_text("Take it from the repository.\n", encoding="utf-8")
    fake.says(2, "resumed")
    assert fake.run(HAIKUD_ATTEMPT="2", HAIKUD_GUIDANCE_FILE=str(guidance))[0] == 0
    assert after(fake.argv(2), "--resume") == recorded_session("denied")
    assert "--session-id" not in fake.argv(2)
    assert fake.prompt(2) == "Guidance from the requester: Take it from the repository."
    own = fake.report()["payload"]["claude_code"]
    assert (own["resumed"], own["session_cost_usd"], own["total_cost_usd"]) == (True, 0.000727, 0.0003635)

    fake.says(3, "resumed")  # a crash after that: the guidance is not told again, the note of a retry once
    assert fake.run(HAIKUD_ATTEMPT="3", HAIKUD_GUIDANCE_FILE=str(guidance))[0] == 0
    assert fake.prompt(3).startswith("Your run on this task was broken off.")
    fake.says(4, "resumed")
    assert fake.run(HAIKUD_ATTEMPT="4", HAIKUD_RESUME_NOTE="The tests failed.")[0] == 0
    assert fake.prompt(4) == "Why the task is given once more: The tests failed."
    fake.says(5, "resumed")
    assert fake.run(HAIKUD_ATTEMPT="5", HAIKUD_RESUME_NOTE="The tests failed.")[0] == 0
    assert fake.prompt(5).startswith("Your run on this task was broken off.")


def test_a_session_that_is_gone_is_begun_anew_with_all_there_is_to_know(fake: FakeClaude):
    fake.says(1, "denied")
    fake.run()
    guidance = fake.root / "guidance.txt"
    guidance.write_text("Blue.\n", encoding="utf-8")
    fake.next(2, "echo 'No conversation found with session ID: x' >&2; exit 1")
    fake.says(3, "resumed")
    code, said = fake.run(HAIKUD_ATTEMPT="2", HAIKUD_GUIDANCE_FILE=str(guidance), HAIKUD_RESUME_NOTE="It had failed.")
    assert code == 0, said
    assert "--resume" not in fake.argv(3)
    prompt = fake.prompt(3)
    assert prompt.startswith("You work in ")
    assert prompt.endswith(
        "Somebody worked on this before you: look at `git status` and `git log` first.\n"
        "Guidance from the requester: Blue.\nWhy the task is given once more: It had failed."
    )


@pytest.mark.parametrize("content", ["", "{", "[]", '{"session_id": 3}', '{"session_id": ""}', "\0\0\0"])
def test_what_was_kept_and_cannot_be_read_is_as_good_as_none(fake: FakeClaude, content: str):
    (fake.out / "keep").mkdir()
    (fake.out / "keep" / "claude-code.json").write_text(content, encoding="utf-8")
    fake.says(1, "resumed")
    assert fake.run()[0] == 0
    assert "--session-id" in fake.argv(1)


def test_a_run_that_never_got_an_answer_is_begun_anew(fake: FakeClaude):
    fake.says(1, "rate_limited", 1)
    code, said = fake.run()
    assert (code, fake.report()["reason"]) == (75, "API Error: Request rejected (429) · slow down")
    assert "waits 1.2 s to ask the API again: rate_limit (429)" in said
    fake.says(2, "resumed")
    assert fake.run(HAIKUD_ATTEMPT="2")[0] == 0
    assert "--resume" not in fake.argv(2)


def test_without_claude_it_says_how_to_get_it(fake: FakeClaude):
    (fake.folder / "claude").unlink()
    code, said = fake.run()
    assert code == 127
    assert "npm install -g @anthropic-ai/claude-code@latest" in said
    assert "npm install -g @anthropic-ai/claude-code@latest" in fake.report()["reason"]
    assert fake.report()["recommendation"] == "Run: npm install -g @anthropic-ai/claude-code@latest"


def test_a_claude_that_cannot_start_is_a_failure_that_says_why(fake: FakeClaude):
    (fake.folder / "claude").chmod(0o644)
    code, said = fake.run()
    assert code == 1, said
    assert "Permission denied" in fake.report()["reason"]
    (fake.root / "plan.json").unlink()
    fake.plan = {}
    fake.next(1, "echo 'Error: no such option' >&2; echo 'Segmentation fault' >&2; exit 1")
    (fake.folder / "claude").chmod(0o755)
    code, said = fake.run()
    assert code == 1
    assert "claude: Error: no such option" in said
    assert fake.report()["reason"].endswith("without a result: Error: no such option\nSegmentation fault")


def test_a_killed_claude_is_tried_again_in_its_session(fake: FakeClaude):
    fake.next(1, f"cat {RECORDED}/terminated.jsonl; kill -9 $$")
    code, _ = fake.run()
    assert (code, fake.report()["reason"]) == (75, "Claude Code was killed (by signal 9); its session goes on")
    fake.says(2, "resumed")
    assert fake.run(HAIKUD_ATTEMPT="2")[0] == 0
    assert (
        after(fake.argv(2), "--resume")
        == json.loads((RECORDED / "terminated.jsonl").read_text(encoding="utf-8").splitlines()[0])["session_id"]
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_term_is_handed_on_and_waited_for(fake: FakeClaude, number: int):
    fake.next(1, "trap 'touch ended; exit 143' TERM; touch here; for i in {1..400}; do sleep 0.05; done")
    process = fake.start()
    wait_until((fake.folder / "here").exists, what="claude to be at work")
    process.send_signal(number)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 143, said
    assert (fake.folder / "ended").exists()


def test_a_command_that_holds_its_pipe_does_not_hold_us(fake: FakeClaude):
    fake.next(1, f"sleep 60 & echo $! > left; cat {RECORDED}/resumed.jsonl; exit 0")
    try:
        assert fake.run(seconds=SECONDS_AFTER_RESULT - 5)[0] == 0
    finally:
        os.kill(int((fake.folder / "left").read_text(encoding="utf-8")), signal.SIGKILL)


@pytest.mark.parametrize("trap", ["", "trap '' TERM; "])
def test_a_claude_that_does_not_end_after_its_result_is_ended(
    fake: FakeClaude, monkeypatch: pytest.MonkeyPatch, trap: str
):
    monkeypatch.setattr(running, "SECONDS_AFTER_RESULT", 0.2)
    monkeypatch.setattr(running, "SECONDS_TO_END", 0.2)
    fake.next(1, f"{trap}cat {RECORDED}/resumed.jsonl; exec 2>&-; for i in {{1..400}}; do sleep 0.05; done")
    before = {number: signal.getsignal(number) for number in running.SIGNALS}
    prompt = fake.root / "prompt.txt"
    prompt.touch()
    said: list[str] = []
    try:
        claude = running.Claude([str(fake.folder / "claude")], prompt=prompt, environment=fake.environment())
        run = claude.follow(Follower(said.append, lambda _percent, _message: None), said.append)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert run.exit_code == (-signal.SIGKILL if trap else -signal.SIGTERM)
    assert judge(run).exit_code == 0


def test_a_prompt_longer_than_a_pipe_holds_arrives(fake: FakeClaude):
    fake.plan["description"] = "wide " * 60_000
    fake.says(1, "resumed")
    assert fake.run()[0] == 0
    assert fake.prompt(1).count("wide ") == 60_000


def test_a_repository_cannot_slip_it_modules(fake: FakeClaude):
    for name in ("json.py", "haikud.py"):
        (fake.worktree / name).write_text("raise SystemExit(5)\n", encoding="utf-8")
    fake.says(1, "resumed")
    assert fake.run()[0] == 0
