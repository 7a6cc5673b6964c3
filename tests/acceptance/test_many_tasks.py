"""Twenty tasks on one repository: never more agents than allowed, a branch and worktree each, no git lock error."""

from __future__ import annotations

from tests.support.house import House
from tests.support.repository import git

NUMBER = 20
WORK = r"""
date +%s.%N > "$HAIKUD_OUT/began"
echo "$TASK_ID" > "file-$TASK_ID.txt"; git add -A; git commit -q -m "Work on $TASK_ID"
sleep 1
date +%s.%N > "$HAIKUD_OUT/ended"
"""


def test_twenty_independent_tasks_run_eight_at_a_time(house: House):
    house.role("worker", WORK)
    house.settings = {"max_agents": 8}
    house.start()
    tasks = [
        {"id": f"t{n}", "title": f"Task {n}", "role": "worker", "files": [f"file-t{n}.txt"]} for n in range(NUMBER)
    ]
    house.drop("incoming", "many.json", {"task_plan": {"id": "many", "tasks": tasks}})
    response = house.response("many", seconds=100)
    assert response["status"] == "success", response
    assert response["message_type"] == "plan_completion"
    assert len({task["payload"]["branch"] for task in response["payload"]["tasks"]}) == NUMBER
    assert len(git(house.repository, "worktree", "list", "--porcelain").split("\n\n")) == NUMBER + 1
    assert len(git(house.repository, "branch", "--list", "feature/*").splitlines()) == NUMBER

    spans = []
    for task in tasks:
        out = house.spool / f"plans/many/{task['id']}/attempt-1/out"
        spans.append((float((out / "began").read_text()), float((out / "ended").read_text())))
    most = max(sum(start <= moment < end for start, end in spans) for moment, _ in spans)
    assert 1 < most <= 8
    logs = "".join(house.log(f"many.t{n}") for n in range(NUMBER)) + house.said()
    assert ".lock" not in logs
    assert "fatal:" not in logs


def test_priorities_and_dependencies_decide_the_order(house: House):
    house.role("worker", 'date +%s.%N > "$HAIKUD_OUT/began"')
    house.settings = {"max_agents": 1}
    house.start()
    tasks = [
        {"id": "low", "title": "Low", "priority": "low", "role": "worker"},
        {"id": "last", "title": "Last", "priority": "blocker", "role": "worker", "dependencies": ["low"]},
        {"id": "medium", "title": "Medium", "role": "worker"},
        {"id": "blocker", "title": "Blocker", "priority": "blocker", "role": "worker"},
        {"id": "high", "title": "High", "priority": "high", "role": "worker"},
    ]
    house.drop("incoming", "order.json", {"task_plan": {"id": "order", "tasks": tasks}})
    assert house.response("order")["status"] == "success"
    began = {t["id"]: float((house.spool / f"plans/order/{t['id']}/attempt-1/out/began").read_text()) for t in tasks}
    assert sorted(began, key=began.__getitem__) == ["blocker", "high", "medium", "low", "last"]


def test_a_failed_dependency_fails_its_dependants_and_nothing_else(house: House):
    house.role("works", "true")
    house.role("breaks", "exit 1")
    house.start()
    tasks = [
        {"id": "a", "title": "A", "role": "breaks"},
        {"id": "b", "title": "B", "role": "works", "dependencies": ["a"]},
        {"id": "c", "title": "C", "role": "works", "dependencies": ["b"]},
        {"id": "d", "title": "D", "role": "works"},
    ]
    house.drop("incoming", "chain.json", {"task_plan": {"id": "chain", "tasks": tasks}})
    response = house.response("chain")
    assert response["status"] == "partial"
    assert {t["task_id"]: t["status"] for t in response["payload"]["tasks"]} == {
        "a": "failure",
        "b": "failure",
        "c": "failure",
        "d": "success",
    }
    reasons = {t: house.decisions("chain", t)[-1]["reason"] for t in ("b", "c")}
    assert all("dependency_failed" in reason for reason in reasons.values()), reasons


def test_a_dependant_starts_from_its_dependencys_branch_and_gets_its_response(house: House):
    house.role("first", "echo one > one.txt; git add -A; git commit -qm One")
    house.role(
        "second", 'cat one.txt > two.txt; cp "$HAIKUD_DEPENDENCIES_FILE" deps.json; git add -A; git commit -qm Two'
    )
    house.start()
    tasks = [
        {"id": "one", "title": "One", "role": "first"},
        {"id": "two", "title": "Two", "role": "second", "dependencies": ["one"], "files": ["two.txt", "deps.json"]},
    ]
    house.drop("incoming", "pair.json", {"task_plan": {"id": "pair", "tasks": tasks}})
    response = house.response("pair")
    assert response["status"] == "success", response
    two = response["payload"]["tasks"][1]["payload"]
    assert sorted(two["files_changed"]) == ["deps.json", "two.txt"]
    assert "feature/pair.one" in git(house.repository, "show", "feature/pair.two:deps.json")
