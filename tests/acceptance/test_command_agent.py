"""Ten lines of shell are a valid agent: what it is given, and what its exit codes lead to."""

from __future__ import annotations

import json
import re

from tests.support.house import House
from tests.support.repository import TEST_COMMAND, git
from tests.support.waiting import wait_until

AGENT = r"""
env -0 > "$HAIKUD_OUT/environment"
cat "$TASK_PLAN_FILE" > "$HAIKUD_OUT/plan-as-seen.json"
echo "def sub(a, b): return a - b" >> calc.py
git add calc.py && git commit -q -m "Add sub"
echo '{"percent": 50, "message": "half way"}' >> "$HAIKUD_OUT/events.jsonl"
echo '{"summary": "I added sub", "payload": {"note": "as asked"}}' > "$HAIKUD_OUT/result.json"
"""

EVERY_VARIABLE = [
    "TASK_ID",
    "ISSUE_NUMBER",
    "WORKTREE_PATH",
    "BRANCH_NAME",
    "PROJECT_TYPE",
    "TEST_COMMAND",
    "LINT_COMMAND",
    "MAIN_BRANCH",
    "TASK_PLAN_FILE",
    "HAIKUD_REF",
    "HAIKUD_PLAN_ID",
    "HAIKUD_ROLE",
    "HAIKUD_AGENT_ID",
    "HAIKUD_ATTEMPT",
    "HAIKUD_OUT",
    "HAIKUD_MODEL",
    "HAIKUD_MAX_COST_USD",
    "HAIKUD_MAX_TURNS",
    "PATH",
    "HOME",
    "LANG",
    "TERM",
]


def seen_environment(house: House, plan: str) -> dict[str, str]:
    data = (house.spool / f"plans/{plan}/{plan}/attempt-1/out/environment").read_bytes()
    return dict(entry.split("=", 1) for entry in data.decode().split("\0") if entry)


def test_the_agent_sees_every_variable_and_no_credential_but_what_its_role_asks_for(house: House):
    house.environment = {
        "ANTHROPIC_API_KEY": "sk-ant-of-the-daemon",
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:9",
        "GITHUB_TOKEN": "ghp-of-the-daemon",
        "AWS_SECRET_ACCESS_KEY": "aws-of-the-daemon",
        "SSH_AUTH_SOCK": "/nowhere",
        "A_HARMLESS_NAME": "passed on",
    }
    house.settings = {"environment": {"pass_names": ["A_HARMLESS_NAME"], "set_values": {"CI": "1"}}}
    house.role("plain", AGENT)
    house.role("caller", AGENT, credential=True)
    house.start()
    context = {"project_type": "python", "test_command": TEST_COMMAND, "lint_command": "true"}
    for name in ("plain", "caller"):
        house.request(f"see-{name}", role=name, files=["calc.py"], context=context, issue_number=7)
    plain_response = house.response("see-plain")
    assert plain_response["status"] == "success", plain_response
    assert plain_response["payload"]["summary"] == "I added sub"
    assert house.response("see-caller")["status"] == "success"

    plain = seen_environment(house, "see-plain")
    assert [name for name in EVERY_VARIABLE if name not in plain] == []
    assert plain["TASK_ID"] == "see-plain"
    assert plain["ISSUE_NUMBER"] == "7"
    assert plain["WORKTREE_PATH"] == str(house.repository / "worktrees" / "see-plain")
    assert plain["BRANCH_NAME"] == "feature/see-plain"
    assert plain["MAIN_BRANCH"] == "main"
    assert plain["TERM"] == "dumb"
    assert plain["A_HARMLESS_NAME"] == "passed on"
    assert plain["CI"] == "1"
    assert "" not in plain.values()
    assert not {"ANTHROPIC_API_KEY", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "SSH_AUTH_SOCK"} & set(plain)
    assert not any("of-the-daemon" in value for value in plain.values())

    caller = seen_environment(house, "see-caller")
    assert caller["ANTHROPIC_API_KEY"].startswith("haikud.see-caller.1.")  # a token, and not the key
    assert re.fullmatch(r"http://127\.0\.0\.1:[0-9]{4,5}", caller["ANTHROPIC_BASE_URL"])  # the gateway's
    assert not any("of-the-daemon" in value for value in caller.values())
    assert not {"GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY"} & set(caller)

    assignment = json.loads((house.spool / "plans/see-plain/see-plain/attempt-1/out/plan-as-seen.json").read_bytes())
    assert assignment["files"] == ["calc.py"]
    assert assignment["context"]["test_command"] == TEST_COMMAND


def test_no_file_of_the_spool_and_no_argument_holds_the_key(house: House):
    house.environment = {"ANTHROPIC_API_KEY": "sk-ant-must-not-be-found"}
    house.role("looker", 'cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr "\\0" "\\n" > "$HAIKUD_OUT/all"')
    house.start()
    house.request("look", role="looker")
    house.response("look")
    for path in house.spool.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.name != "all":
            assert b"sk-ant-must-not-be-found" not in path.read_bytes(), path


def test_exit_codes_lead_to_success_retry_escalation_and_failure(house: House):
    house.role("zero", "exit 0")
    house.role("later", '[ "$HAIKUD_ATTEMPT" -ge 2 ] || exit 75')
    house.role("never", "exit 75")
    house.role("asks", 'echo "which of the two headers?"; exit 79')
    house.role("fails", 'echo "no such thing" >&2; exit 1')
    house.start()
    for name in ("zero", "later", "never", "asks", "fails"):
        house.request(name, role=name)

    assert house.response("zero")["status"] == "success"

    later = house.response("later")
    assert later["status"] == "success"
    assert later["payload"]["attempts"] == 2
    assert "retry 2/3" in house.log("later")

    never = house.response("never")
    assert never["status"] == "failure"
    assert never["payload"]["attempts"] == 3

    wait_until(lambda: house.read("escalations/asks.json"), what="the escalation")
    question = house.read("escalations/asks.json")
    assert question is not None
    assert question["status"] == "blocked"
    assert "which of the two headers?" in json.dumps(question["payload"])
    assert house.state("asks") == "escalated"

    fails = house.response("fails")
    assert fails["status"] == "failure"
    assert fails["payload"]["attempts"] == 1
    report = fails["payload"]["error_report"]
    assert report["type"] == "agent_error"
    assert "1" in report["error"]["message"]


def test_guidance_in_words_resumes_the_task_in_its_worktree(house: House):
    house.role(
        "asks",
        'if [ -n "$HAIKUD_GUIDANCE_FILE" ]; then grep -q AuthProvider "$HAIKUD_GUIDANCE_FILE" && '
        "git add -A && git commit -qm Done; else echo started > half.txt; exit 79; fi",
    )
    house.start()
    house.request("ask", role="asks", files=["half.txt"])
    wait_until(lambda: house.read("escalations/ask.json"), what="the escalation")
    house.drop("guidance", "ask.txt", "wrap it in AuthProvider\n")
    response = house.response("ask")
    assert response["status"] == "success", response
    assert response["payload"]["files_changed"] == ["half.txt"]
    assert not (house.spool / "escalations/ask.json").exists()
    assert git(house.repository, "show", "feature/ask:half.txt") == "started"
