"""The guide's coordination example 2: three features in parallel, from the plan's file to the consolidated summary."""

from __future__ import annotations

import json
from typing import Any

import yaml
from tests.support.house import House
from tests.support.repository import git
from tests.support.scripts import conversation, scenario

from haikud.offline.scenario import parse_scenario
from haikud.offline.server import ScriptedApi

PAGES = {"auth": "Auth", "dashboard": "Dashboard", "analytics": "Analytics"}


def turns(page: str) -> list[dict[str, Any]]:
    """What the scripted model does for a page: the component, its test, a commit."""
    source = f"src/pages/{page}.tsx"
    write = {"command": "create", "path": f"{{{{worktree}}}}/{source}", "file_text": f"export const {page} = 1\n"}
    test = f"echo 'test {page}' > src/pages/{page}.test.tsx && git add -A && git commit -q -m 'Add {page}'"
    return [
        {"tools": [{"name": "str_replace_based_edit_tool", "input": write}]},
        {
            "tools": [
                {"name": "bash", "input": {"command": test}},
                {"name": "report_progress", "input": {"percent": 75, "message": f"{page} committed"}},
            ]
        },
        {"text": f"The {page} page is there, with a test."},
    ]


def test_three_features_in_parallel_with_issues_branches_and_the_consolidated_summary(house: House):
    house.settings = {"issues": "local"}
    plan = {
        "task_plan": {
            "id": "pages",
            "context": {"project_type": "react-typescript", "test_command": "grep -l export src/pages/*.tsx"},
            "tasks": [
                {
                    "id": task_id,
                    "title": f"Implement {page} page",
                    "files": [
                        {"path": f"src/pages/{page}.tsx", "operation": "create"},
                        {"path": f"src/pages/{page}.test.tsx", "operation": "create"},
                    ],
                    "implementation_steps": [f"Create {page} page component", "Add tests"],
                    "tests": ["Renders"],
                }
                for task_id, page in PAGES.items()
            ],
            "metadata": {"created_by": "main-agent", "estimated_cost": "$0.12"},
        }
    }
    script = scenario(*(conversation(*turns(page), match=f"Implement {page}") for page in PAGES.values()))
    with ScriptedApi(parse_scenario(script)) as api:
        house.environment = {"ANTHROPIC_API_KEY": "sk-ant-scripted", "ANTHROPIC_BASE_URL": api.base_url}
        house.start()
        house.drop("incoming", "pages.yaml", yaml.safe_dump(plan))
        done = house.haikud("wait", "pages", seconds=120)
        assert done.returncode == 0, house.tail()
    response = json.loads(done.stdout)
    assert (response["message_type"], response["status"]) == ("plan_completion", "success")
    payload = response["payload"]

    answers = {task["task_id"]: task for task in payload["tasks"]}
    assert sorted(task["payload"]["issue_number"] for task in answers.values()) == [1, 2, 3]
    for task_id, page in PAGES.items():
        task = answers[task_id]["payload"]
        assert answers[task_id]["status"] == "success"
        assert (task["branch"], task["commits"], task["tests_passing"]) == (f"feature/pages.{task_id}", 1, True)
        assert task["worktree"] == f"worktrees/pages.{task_id}"
        assert task["files_changed"] == [f"src/pages/{page}.test.tsx", f"src/pages/{page}.tsx"]
        assert task["issue_url"].endswith(f"/issues/{task['issue_number']}.json")
        issue = house.read(f"issues/{task['issue_number']}.json")
        assert issue is not None
        assert (issue["title"], issue["state"]) == (f"Implement {page} page", "closed")
        assert f"export const {page}" in git(house.repository, "show", f"feature/pages.{task_id}:src/pages/{page}.tsx")
        lines = house.log(f"pages.{task_id}").splitlines()
        found = [next(n for n, line in enumerate(lines) if word in line) for word in (" issue #", " worktree ")]
        assert found == sorted(found)  # the issue before the worktree

    costs = payload["agent_costs"]
    agents = [costs[f"haiku_agent_{number}"] for number in (1, 2, 3)]
    assert [agent["task"] for agent in agents] == [f"Implement {page} page" for page in PAGES.values()]
    total = sum(agent["cost_usd"] for agent in agents)
    assert abs(total - costs["total_cost"]) < 1e-6
    assert abs(total - response["metrics"]["cost_usd"]) < 1e-6
    assert costs["comparison"]["if_all_sonnet"] > total > 0
    assert costs["comparison"]["savings_percent"] > 50
    ran = sum(task["metrics"]["duration_seconds"] for task in answers.values())
    assert abs(payload["time"]["sequential_seconds"] - ran) < 0.2
    assert {"parallel_seconds", "time_saved_seconds", "time_saved_percent"} <= payload["time"].keys()
    assert git(house.repository, "rev-list", "--count", "main") == "1"  # ready to merge, and not merged
