"""The guide's four communication patterns, by files and by the command line."""

from __future__ import annotations

import json
from typing import Any

from tests.support.house import House
from tests.support.repository import git
from tests.support.waiting import wait_until

CHAIN = """
cat "$TASK_PLAN_FILE" > "$HAIKUD_OUT/plan-as-seen.json"
[ -z "$HAIKUD_DEPENDENCIES_FILE" ] || cp "$HAIKUD_DEPENDENCIES_FILE" "$HAIKUD_OUT/answers.json"
cat notes.txt 2>/dev/null
echo "$TASK_ID" >> notes.txt && git add notes.txt && git commit -qm "$TASK_ID"
echo '{"summary": "did '$TASK_ID'", "payload": {"port": 8080, "parts": ["a", "b"]}}' > "$HAIKUD_OUT/result.json"
"""


def seen_by(house: House, ref: str, name: str = "plan-as-seen.json") -> dict[str, Any]:
    """What the agent of a task's first attempt had before it."""
    found = json.loads((house.task_folder(ref) / "attempt-1" / "out" / name).read_bytes())
    assert isinstance(found, dict)
    return found


def test_callback_chain_each_task_has_the_commits_and_results_of_those_before(house: House):
    house.role("link", CHAIN)
    house.start()
    tasks = [
        {"id": "first", "title": "First"},
        {
            "id": "second",
            "title": "Second",
            "dependencies": ["first"],
            "description": "{{ tasks.first.payload.summary }}: it listens on {{ tasks.first.payload.port }}",
            "steps": ["Start at {{ tasks.first.payload.evidence.head_sha }}"],
            "params": {"port": "{{ tasks.first.payload.port }}"},
        },
        {
            "id": "third",
            "title": "Third",
            "dependencies": ["second"],
            "success_criteria": ["{{ tasks.first.payload.branch }}, {{ tasks.second.payload.parts }}"],
        },
        {"id": "wrong", "title": "Wrong", "dependencies": ["first"], "description": "{{ tasks.first.payload.prot }}"},
        {"id": "after", "title": "After", "dependencies": ["wrong"]},
    ]
    house.drop("incoming", "chain.json", {"task_plan": {"id": "chain", "role": "link", "tasks": tasks}})
    response = house.response("chain")
    answers = {task["task_id"]: task for task in response["payload"]["tasks"]}
    assert {name: answer["status"] for name, answer in answers.items()} == {
        "first": "success",
        "second": "success",
        "third": "success",
        "wrong": "failure",
        "after": "failure",
    }, house.tail()
    head = git(house.repository, "rev-parse", "feature/chain.first")
    second = seen_by(house, "chain.second")
    assert second["description"] == "did first: it listens on 8080"
    assert second["steps"] == [f"Start at {head}"]
    assert second["params"] == {"port": 8080}
    assert seen_by(house, "chain.second", "answers.json")["first"]["payload"]["port"] == 8080
    assert seen_by(house, "chain.third")["success_criteria"] == ["feature/chain.first, a, b"]
    assert git(house.repository, "show", "feature/chain.third:notes.txt") == "first\nsecond\nthird"
    assert answers["third"]["payload"]["commits"] == 1  # its own alone
    plan = house.read("plans/chain/plan.json")
    assert plan is not None
    assert plan["tasks"][1]["params"] == {"port": "{{ tasks.first.payload.port }}"}

    report = answers["wrong"]["payload"]["error_report"]
    assert (report["type"], report["error"]["code"]) == ("invalid_request", "UNRESOLVED_REFERENCE")
    assert "port, parts" in report["error"]["message"]
    assert answers["wrong"]["payload"]["attempts"] == 0  # and so nothing was spent
    assert answers["after"]["payload"]["error_report"]["error"]["code"] == "DEPENDENCY_FAILED"


def test_a_diamond_whose_middle_conflicts_asks_with_both_diffs_and_goes_on_when_it_is_mended(house: House):
    house.role("side", 'sed -i "s/return a + b/return a + b  # $TASK_ID/" calc.py && git commit -qam "$TASK_ID"')
    house.role("join", 'echo done > "$TASK_ID.txt" && git add "$TASK_ID.txt" && git commit -qm Join')
    house.start()
    sides = [{"id": name, "title": f"Do {name}", "role": "side", "dependencies": ["top"]} for name in ("left", "right")]
    join = {"id": "join", "title": "Join", "role": "join", "dependencies": ["left", "right"], "files": ["join.txt"]}
    top = {"id": "top", "title": "Do top", "role": "join"}
    house.drop("incoming", "d.json", {"task_plan": {"id": "d", "tasks": [top, *sides, join]}})
    asked = house.haikud("wait", "d", "--json")
    assert asked.returncode == 3, house.tail()
    question = json.loads(asked.stdout)["payload"]
    left, right = "feature/d.left (task left)", "feature/d.right (task right)"
    assert question["reason"] == f"Merge conflict between {left} and {right} in calc.py"
    for told, line in ((left, "+    return a + b  # left"), (right, "+    return a + b  # right")):
        _, _, diff = question["error_details"].partition(f"{told}, changes since")
        assert line in diff.partition("feature/")[0].splitlines()
    assert not (house.repository / "worktrees/d.join/join.txt").exists()  # no agent has run

    house.drop("guidance", "d.join.json", {"action": "retry", "escalation_id": question["escalation_id"]})
    asked_again = wait_until(lambda: house.read("plans/d/join/escalation-0002.json"), what="the same question")
    assert asked_again is not None
    assert asked_again["payload"]["reason"] == question["reason"]  # nobody has mended anything yet
    wait_until(lambda: house.read("escalations/d.join.json"), what="it to be published")

    by_hand = house.repository / "worktrees/d.right"
    assert str(by_hand) in question["options"][0]
    git(by_hand, "merge", "-q", "-X", "ours", "-m", "Both", "feature/d.left")
    house.drop("guidance", "d.join.txt", "merged it: go on")
    response = house.response("d")
    assert response["status"] == "success", house.tail()
    git(house.repository, "merge-base", "--is-ancestor", "feature/d.left", "feature/d.join")
    assert "return a + b  # right" in git(house.repository, "show", "feature/d.join:calc.py")
    answer = response["payload"]["tasks"][-1]["payload"]
    assert (answer["files_changed"], answer["attempts"]) == (["join.txt"], 3)
