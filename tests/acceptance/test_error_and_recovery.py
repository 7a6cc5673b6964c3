"""The guide's coordination example 3: an agent meets a failing test, asks, is told `AuthProvider`, and completes."""

from __future__ import annotations

import subprocess

from tests.support.house import House
from tests.support.repository import git
from tests.support.scripts import conversation, scenario
from tests.support.waiting import wait_until

from haikud.offline.scenario import parse_scenario
from haikud.offline.server import ScriptedApi

PLAN = """\
task_plan:
  id: logout
  tasks:
    - id: logout
      title: Add logout button
      type: feature
      files: [navigation.py, tests/test_navigation.py]
      steps: [Add the button, Call logout from the auth context]
      tests: [logout is called once on click]
      context: {test_command: python3 -m unittest -q}
"""

IMPLEMENT = {
    "text": "I add the button and its test.",
    "tools": [
        {
            "name": "bash",
            "input": {
                "command": "cat > navigation.py <<'END'\n"
                "calls = []\nprovided = False\n\n\n"
                "def click():\n    if provided:\n        calls.append('logout')\nEND\n"
                "cat > tests/test_navigation.py <<'END'\n"
                "import unittest\n\nimport navigation\n\n\n"
                "class Logout(unittest.TestCase):\n"
                "    def test_click(self):\n"
                "        navigation.click()\n"
                "        self.assertEqual(navigation.calls, ['logout'])\nEND\n"
                "python3 -m unittest -q"
            },
        }
    ],
}
ESCALATE = {
    "text": "The handler is connected, the function exists, and the test still fails.",
    "tools": [
        {
            "name": "escalate",
            "input": {
                "reason": "The click does not reach logout in the test",
                "blocker": "Test failure in authentication flow",
                "context": ["Verified onClick handler is present", "Confirmed logout function exists"],
                "options": ["Investigate the auth context", "Update test expectations", "Revert changes"],
                "recommendation": "Main agent should investigate as this requires project-wide context.",
            },
        }
    ],
}
APPLY = {
    "text": "Received guidance. Applying the fix.",
    "tools": [
        {
            "name": "bash",
            "input": {
                "command": "sed -i 's/navigation.click()/navigation.provided = True  # AuthProvider\\n        &/' "
                "tests/test_navigation.py && python3 -m unittest -q && git add -A && git commit -qm 'Add logout button'"
            },
        }
    ],
}
DONE = {"text": "Updated the test with the AuthProvider wrapper. All tests passing."}


def test_escalation_guidance_and_completion_with_the_cost_of_both_halves_in_one_record(house: House):
    turns = conversation(IMPLEMENT, ESCALATE, APPLY, DONE)
    house.settings = {"issues": "local"}
    with ScriptedApi(parse_scenario(scenario(turns))) as api:
        house.environment = {"ANTHROPIC_API_KEY": "sk-ant-scripted-0", "ANTHROPIC_BASE_URL": api.base_url}
        house.start()
        house.drop("incoming", "logout.yaml", PLAN)
        wait_until(lambda: house.read("escalations/logout.json"), seconds=60, what=house.tail)
        asked = house.read("escalations/logout.json")
        assert asked is not None
        blocked = asked["payload"]
        assert (asked["status"], asked["message_type"]) == ("blocked", "escalation")
        assert (blocked["title"], blocked["issue_number"]) == ("Add logout button", 1)
        assert blocked["blocker"] == "Test failure in authentication flow"
        assert "Lists differ: [] != ['logout']" in blocked["error_details"]  # of the failing command, which ran last
        assert blocked["options"][2] == "Revert changes"
        assert blocked["cost_so_far"] > 0

        subprocess.run('echo "wrap it in AuthProvider" > guidance/logout.txt', shell=True, cwd=house.spool, check=True)
        response = house.response("logout")
        old, new = api.journal[1].body["messages"], api.journal[2].body["messages"]

    assert response["status"] == "success", house.tail()
    # The old turns are history, the guidance is the new message.
    assert len(api.journal) == 4
    assert without_marks(new[: len(old)]) == without_marks(old)
    assert [message["role"] for message in new[len(old) :]] == ["assistant", "user"]
    assert new[-1]["content"][-1]["text"] == "Guidance from the requester: wrap it in AuthProvider"
    # Both halves in one record, and the total is theirs.
    task = response["payload"]["tasks"][0] if "tasks" in response["payload"] else response
    (told,) = task["payload"]["escalations"]
    assert (told["escalation_id"], told["action"], told["guidance"]) == (
        "logout.e1",
        "continue",
        "wrap it in AuthProvider",
    )
    total = response["metrics"]["cost_usd"]
    assert told["cost_so_far"] == blocked["cost_so_far"]
    assert told["cost_since"] > 0
    assert abs(told["cost_so_far"] + told["cost_since"] - total) < 1e-9
    costs = response["payload"]["agent_costs"]
    assert abs(costs["total_cost"] - total) < 1e-9
    assert abs(costs["haiku_agent_1"]["cost_usd"] - total) < 1e-9
    assert task["payload"]["attempts"] == 2
    assert task["payload"]["tests_passing"] is True
    assert "AuthProvider" in git(house.repository, "show", "feature/logout:tests/test_navigation.py")
    assert not (house.spool / "escalations/logout.json").exists()


def without_marks(messages: list[dict]) -> list[dict]:
    """The messages without the cache's marks, which move on with each call."""
    return [
        {**one, "content": [{k: v for k, v in block.items() if k != "cache_control"} for block in one["content"]]}
        for one in messages
    ]
