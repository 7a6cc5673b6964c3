"""A role from a repository's `.claude/agents/`, written by others: it loads, and what its file withholds cannot be had."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.house import House
from tests.support.repository import git
from tests.support.scripts import conversation, scenario

from haikud.offline.scenario import parse_scenario
from haikud.offline.server import ScriptedApi

ROLES = Path(__file__).resolve().parents[1] / "data" / "roles"


def test_a_role_without_bash_and_edit_can_run_and_change_nothing(house: House, tmp_path: Path):
    shutil.copytree(ROLES, house.repository / ".claude" / "agents" / "team")
    git(house.repository, "add", "-A")
    git(house.repository, "commit", "-qm", "Add our agents")
    canary = tmp_path / "canary"
    tries = {
        "text": "I try what I was not given.",
        "tools": [
            {"name": "bash", "input": {"command": f"touch {canary} ran.txt; git commit --allow-empty -qm X"}},
            {
                "name": "str_replace_based_edit_tool",
                "input": {"command": "create", "path": "{{worktree}}/made.txt", "file_text": "x"},
            },
            {"name": "view", "input": {"command": "create", "path": "calc.py", "file_text": "x"}},
        ],
    }
    with ScriptedApi(parse_scenario(scenario(conversation(tries, {"text": "calc.py, line 1."})))) as api:
        house.environment = {"ANTHROPIC_API_KEY": "sk-ant-scripted-01", "ANTHROPIC_BASE_URL": api.base_url}
        house.start()
        house.request("look", role="ticket-reader", context={"files": ["calc.py", "nowhere.py"]})
        response = house.response("look")
        first, second = (request.body for request in api.journal)
    assert response["status"] == "success", house.tail()
    assert [tool["name"] for tool in first["tools"]] == ["view", "report_progress", "escalate"]
    assert "You read tickets." in str(first["system"])
    message = first["messages"][0]["content"][0]["text"]
    assert '<file path="calc.py">\ndef add' in message  # what a task names as worth reading is in its first message
    assert "- nowhere.py (not included: " in message
    bash, edit, view = second["messages"][-1]["content"]
    assert bash["is_error"] is edit["is_error"] is True
    assert "there is no such tool" in str(bash["content"])
    assert not view.get("is_error")
    assert "def add" in str(view["content"])
    payload = response["payload"]
    assert (payload["commits"], payload["files_changed"]) == (0, [])
    assert not canary.exists()
    assert sorted(path.name for path in (house.repository / "worktrees" / "look").glob("*.txt")) == []
    assert response["sender"] == "ticket-reader"
    assert any("mcp__tracker__get_issue" in warning for warning in payload["warnings"])
    assert any("nowhere.py was left out" in warning for warning in payload["warnings"])
    context = payload["context_files"]
    assert [one["path"] for one in context["included"]] == ["calc.py"]
    assert [one["path"] for one in context["left_out"]] == ["nowhere.py"]
    assert 0 < context["tokens"] < context["max_tokens"] == 8000
