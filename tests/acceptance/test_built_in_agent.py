"""The built-in agent against a scripted API over real HTTP: it edits, runs, commits; its words prove nothing."""

from __future__ import annotations

import re
import subprocess
from typing import Any

from tests.support.house import House
from tests.support.repository import TEST_COMMAND, git
from tests.support.scripts import COMMIT, DONE, EDIT, WRITE, add_sub, conversation, scenario
from tests.support.waiting import wait_until

from haikud.offline.scenario import parse_scenario
from haikud.offline.server import ScriptedApi

KEY = "sk-ant-scripted-0123456789"


def with_api(house: House, api: ScriptedApi) -> None:
    house.environment = {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": api.base_url}
    house.start()


def ask(house: House, task_id: str, **fields: Any) -> dict[str, Any]:
    context = {"test_command": TEST_COMMAND, **fields.pop("context", {})}
    house.request(task_id, title=f"Task {task_id}", files=["calc.py"], context=context, **fields)
    return house.response(task_id)


def summed(house: House, pattern: str) -> str:
    """One of the guide's own grep commands, on this spool's logs."""
    return subprocess.run(
        pattern, shell=True, cwd=house.spool / "logs", check=False, capture_output=True, text=True
    ).stdout.strip()


def finished_in_sight(house: House) -> list[dict[str, Any]]:
    return [task for task in (house.read("status.json") or {})["tasks"] if task["state"] == "succeeded"]


def test_it_edits_runs_and_commits_and_the_answer_agrees_with_git(house: House):
    with ScriptedApi(parse_scenario(scenario(conversation(*add_sub())))) as api:
        with_api(house, api)
        response = ask(house, "sub")
        payload = response["payload"]
        assert response["status"] == "success", house.tail()
        assert payload["branch"] == "feature/sub"
        assert payload["commits"] == 1 == int(git(house.repository, "rev-list", "--count", "main..feature/sub"))
        assert payload["files_changed"] == ["calc.py"]
        assert payload["tests_passing"] is True
        assert payload["summary"].endswith("Added sub().")
        assert "def sub" in git(house.repository, "show", "feature/sub:calc.py")
        assert response["metrics"]["cost_usd"] > 0
        all_sonnet = payload["agent_costs"]["comparison"]["if_all_sonnet"]
        assert all_sonnet > payload["agent_costs"]["total_cost"]
        (shown,) = wait_until(lambda: finished_in_sight(house), what="the finished task in status.json")
        assert shown["model_family"] == "Haiku"
        assert (shown["cost_usd"], shown["sonnet_cost_usd"]) == (response["metrics"]["cost_usd"], all_sonnet)
        (took,) = wait_until(lambda: house.read("role-history.json"), what="the role's history")["roles"][shown["role"]]
        assert (took["cost_usd"], took["sonnet_cost_usd"]) == (shown["cost_usd"], all_sonnet)
        log = house.log("sub")
        assert KEY not in log
        assert re.search(r"\b75\b", log)
        assert len(api.journal) == 4


def test_words_do_not_make_a_success(house: House):
    lie = {"text": "All tests pass and everything is committed."}
    bash = {"name": "bash"}
    conversations = [
        conversation(
            {"tools": [{**bash, "input": {"command": "echo 'def add(a, b): return 0' > calc.py; git commit -qam X"}}]},
            lie,
            match="Task breaks",
        ),
        conversation(lie, match="Task idles"),
        conversation({"tools": [{**bash, "input": {"command": "echo '# more' >> calc.py"}}]}, lie, match="Task leaves"),
        conversation(
            {"tools": [{**bash, "input": {"command": "git rm -qr tests; echo '#' >> calc.py; git commit -qam X"}}]},
            lie,
            match="Task deletes",
        ),
    ]
    with ScriptedApi(parse_scenario(scenario(*conversations))) as api:
        with_api(house, api)
        for name in ("breaks", "idles", "leaves", "deletes"):
            house.request(name, title=f"Task {name}", files=["calc.py"], context={"test_command": TEST_COMMAND})
        breaks, idles, leaves, deletes = (house.response(n) for n in ("breaks", "idles", "leaves", "deletes"))
    assert (breaks["status"], breaks["payload"]["tests_passing"]) == ("failure", False)
    assert breaks["payload"]["error_report"]["type"] == "test_failure"
    assert (idles["status"], idles["payload"]["commits"]) == ("failure", 0)
    assert leaves["status"] == "success"
    assert leaves["payload"]["commits"] == 1
    assert leaves["payload"]["evidence"]["committed_by_runner"] is True
    assert git(house.repository, "show", "feature/leaves:calc.py").endswith("# more")
    assert "D tests/test_calc.py" in deletes["payload"]["evidence"]["tests_touched"]


def test_the_guides_grep_commands_agree_with_the_answer_over_several_attempts(house: House):
    fake = {"name": "bash", "input": {"command": "printf 'tokens_used 999999\\nretry 1/9 fake\\ncontext_tokens 5\\n'"}}
    broken = {"kind": "status", "status": 500, "times": 4}
    turns = [dict(EDIT), {"tools": [fake]}, {**WRITE, "fault": broken}, dict(COMMIT), dict(DONE)]
    with ScriptedApi(parse_scenario(scenario(conversation(*turns)))) as api:
        with_api(house, api)
        response = ask(house, "counted")
    assert response["status"] == "success", house.tail()
    assert response["payload"]["attempts"] == 2
    log = house.log("counted")
    tokens = summed(house, r"""grep "tokens_used" agent-*.log | awk '{sum+=$2} END {print sum}'""")
    assert int(tokens) == response["metrics"]["tokens_used"] > 0
    retries = [line for line in log.splitlines() if line.startswith("retry ")]
    assert int(summed(house, 'grep "retry" agent-*.log | wc -l')) == len(retries) > 0
    contexts = summed(house, 'grep "context_tokens" agent-*.log').splitlines()
    assert len(contexts) == 5
    assert all(re.fullmatch(r"context_tokens \d+", line) for line in contexts)
    assert "999999" in log


def test_a_question_is_answered_and_the_conversation_goes_on(house: House):
    asks = {
        "tools": [
            {
                "name": "escalate",
                "input": {
                    "reason": "Two ways to subtract",
                    "blocker": "sub() may take two or many arguments",
                    "context": ["calc.py has add(a, b)"],
                    "options": ["two arguments", "many"],
                    "recommendation": "two",
                },
            }
        ]
    }
    with ScriptedApi(parse_scenario(scenario(conversation(dict(EDIT), asks, WRITE, COMMIT, DONE)))) as api:
        with_api(house, api)
        house.request("choose", files=["calc.py"], context={"test_command": TEST_COMMAND})
        waited = house.haikud("wait", "choose", "--timeout", "40")
        assert waited.returncode == 3, waited.stderr
        question = house.read("escalations/choose.json")
        assert question is not None
        assert question["payload"]["options"] == ["two arguments", "many"]
        assert house.haikud("answer", "choose", "Two arguments, please.").returncode == 0
        response = house.response("choose")
        assert response["status"] == "success", house.tail()
        assert len(api.journal) == 5
        assert "Two arguments, please." in str(api.journal[2].body["messages"][-1])
        assert response["metrics"]["tokens_used"] == int(
            summed(house, r"""grep "tokens_used" agent-*.log | awk '{sum+=$2} END {print sum}'""")
        )


def test_a_retry_asked_for_after_failed_tests_tells_the_agent_what_was_wrong(house: House):
    breaks = {
        "tools": [
            {"name": "bash", "input": {"command": "echo 'def add(a, b): return 0' >> calc.py; git commit -qam Break"}}
        ]
    }
    mends = {"tools": [{"name": "bash", "input": {"command": "git revert --no-edit HEAD"}}]}
    with ScriptedApi(parse_scenario(scenario(conversation(breaks, DONE, mends, DONE)))) as api:
        with_api(house, api)
        assert ask(house, "again")["payload"]["error_report"]["error"]["code"] == "TEST_FAILURE"
        assert house.haikud("retry", "again", "--wait").returncode == 0, house.tail()
        response = house.response("again")
        assert response["status"] == "success", house.tail()
        assert response["payload"]["tests_passing"] is True
        assert len(api.journal) == 4
        assert "asked for once more" in str(api.journal[2].body["messages"][-1])
