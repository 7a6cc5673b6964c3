"""The guide's four communication patterns, by files and by the command line. One daemon serves all of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.house import House
from tests.support.repository import git
from tests.support.waiting import wait_until

SUITE = """
say() { echo "{\\"percent\\": $1, \\"message\\": \\"$2\\"}" >> "$HAIKUD_OUT/events.jsonl"; }
say 25 'Unit tests: 45/45 passing'
while [ ! -e "GATE" ]; do sleep 0.05; done
say 50 'Integration tests: 12/12 passing'
echo '{"message": "E2E tests: running"}' >> "$HAIKUD_OUT/events.jsonl"
say 75 'E2E tests: 8/10 passing'
say 100 '2 failures'
"""

SIDE = r"""
cat "$TASK_PLAN_FILE" > "$HAIKUD_OUT/plan-as-seen.json"
cp "$HAIKUD_DEPENDENCIES_FILE" "$HAIKUD_OUT/answers.json"
grep -q top top.txt || exit 1
sed -i "s/return a + b/return a + b  # $TASK_ID/" calc.py && git commit -qam "$TASK_ID"
"""

OWN_FILE = r"""
cat "$TASK_PLAN_FILE" > "$HAIKUD_OUT/plan-as-seen.json"
echo "$TASK_ID" > "$TASK_ID.txt" && git add "$TASK_ID.txt" && git commit -qm "$TASK_ID"
echo '{"summary": "did '$TASK_ID'", "payload": {"port": 8080, "parts": ["a", "b"]}}' > "$HAIKUD_OUT/result.json"
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    built = House(tmp_path_factory.mktemp("patterns") / "house with a space")
    built.role("suite", SUITE.replace("GATE", str(built.root / "gate")))
    built.role("side", SIDE)
    built.role("own-file", OWN_FILE)
    yield built.start()
    built.close()


def test_request_response(house: House):
    params = {"title": "Implement logout button", "body": "Add logout button to navigation...", "labels": ["auth"]}
    request = {"agent": "issue-orchestrator", "task": "create_issue", "params": params}
    done = house.haikud("submit", "-", "--wait", "--json", stdin=json.dumps(request))
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["payload"]["success"], answer["payload"]["issue_number"]) == (True, 1)
    assert answer["payload"]["issue_url"].endswith("/1.json")
    assert answer["metrics"]["cost_usd"] == 0  # it needs no judgement, so no model was asked


def test_fire_and_forget_and_streaming_progress(house: House):
    issue = {"id": "issue", "role": "issue-orchestrator", "operation": "create_issue", "params": {"title": "Logout"}}
    tasks = [{"id": "suite", "title": "Run the suite", "role": "suite"}, issue]
    house.drop("incoming", "later.json", {"task_plan": {"id": "later", "tasks": tasks}})  # and the main agent goes on
    assert house.response("later.issue")["payload"]["success"] is True

    def shown() -> tuple[int | None, str] | None:
        tasks = (house.read("status.json") or {"tasks": []})["tasks"]
        return next(((task["percent"], task["message"]) for task in tasks if task["ref"] == "later.suite"), None)

    first = (25, "Unit tests: 45/45 passing")
    wait_until(lambda: shown() == first, what=lambda: f"25 % in status.json, not {shown()}")
    assert house.read("responses/later.json") is None  # one has answered, the other is at work
    waiting = subprocess.Popen(
        [sys.executable, "-m", "haikud.interfaces", "wait", "later.suite", "--progress", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**house.base_environment(), "HAIKUD_SPOOL": str(house.spool)},
    )
    with waiting as process:
        assert process.stderr is not None
        begin = process.stderr.readline()
        (house.root / "gate").touch()
        out, rest = process.communicate(timeout=60)
    assert process.returncode == 0, rest
    assert json.loads(out)["status"] == "success"
    messages = [json.loads(line) for line in [begin, *rest.splitlines()]]
    assert {message["message_type"] for message in messages} == {"progress_update"}
    told = [(m["payload"]["percent"], m["payload"]["message"]) for m in messages if m["payload"]["kind"] == "progress"]
    assert told == [
        first,
        (50, "Integration tests: 12/12 passing"),
        (50, "E2E tests: running"),
        (75, "E2E tests: 8/10 passing"),
        (100, "2 failures"),
    ]
    events = (house.task_folder("later.suite") / "attempt-1" / "events.jsonl").read_text(encoding="utf-8")
    log = house.log("later.suite")
    for percent, message in told:
        assert f'"percent":{percent},"message":"{message}"' in events
        assert f": {message}" in log
    assert "progress 75 %: E2E tests: 8/10 passing" in log
    assert house.response("later")["status"] == "success"


def seen_by(house: House, ref: str, name: str = "plan-as-seen.json", attempt: int = 1) -> dict[str, Any]:
    """What the agent of a task had before it."""
    found = json.loads((house.task_folder(ref) / f"attempt-{attempt}" / "out" / name).read_bytes())
    assert isinstance(found, dict)
    return found


def test_callback_chain_and_a_diamond_whose_middle_conflicts(house: House):
    """A chain of three (top, left, join), each with the commits and results of those before; and its other side."""
    left = {
        "description": "{{ tasks.top.payload.summary }}: it listens on {{ tasks.top.payload.port }}",
        "steps": ["Start at {{ tasks.top.payload.evidence.head_sha }}"],
        "params": {"port": "{{ tasks.top.payload.port }}"},
    }
    join = {
        "dependencies": ["left", "right"],
        "files": ["join.txt"],
        "success_criteria": ["{{ tasks.left.payload.branch }} on top of {{ tasks.top.payload.parts }}"],
    }
    tasks = [
        {"id": "top", "title": "Top", "role": "own-file"},
        {"id": "left", "title": "Left", "role": "side", "dependencies": ["top"], **left},
        {"id": "right", "title": "Right", "role": "side", "dependencies": ["top"]},
        {"id": "join", "title": "Join", "role": "own-file", **join},
        {"id": "wrong", "title": "Wrong", "role": "side", "dependencies": ["top"], "tests": ["{{ tasks.top.payload.prot }}"]},
    ]  # fmt: skip
    house.drop("incoming", "d.json", {"task_plan": {"id": "d", "tasks": tasks}})
    asked = house.haikud("wait", "d.join", "--json")
    assert asked.returncode == 3, house.tail()

    seen = seen_by(house, "d.left")
    assert seen["description"] == "did top: it listens on 8080"
    assert seen["steps"] == [f"Start at {git(house.repository, 'rev-parse', 'feature/d.top')}"]
    assert seen["params"] == {"port": 8080}
    assert seen_by(house, "d.left", "answers.json")["top"]["payload"]["port"] == 8080
    git(house.repository, "merge-base", "--is-ancestor", "feature/d.top", "feature/d.left")
    plan = house.read("plans/d/plan.json")
    assert plan is not None
    assert plan["tasks"][1]["params"] == left["params"]  # what was admitted stays as it was

    report = house.response("d.wrong")["payload"]["error_report"]
    assert (report["type"], report["error"]["code"]) == ("invalid_request", "UNRESOLVED_REFERENCE")
    assert "tests/0 names {{ tasks.top.payload.prot }}" in report["error"]["message"]
    assert "port, parts" in report["error"]["message"]
    assert not (house.task_folder("d.wrong") / "attempt-1").exists()  # and so nothing was spent

    question = json.loads(asked.stdout)["payload"]
    one, other = "feature/d.left (task left)", "feature/d.right (task right)"
    assert question["reason"] == f"Merge conflict between {one} and {other} in calc.py"
    for told, line in ((one, "+    return a + b  # left"), (other, "+    return a + b  # right")):
        _, _, diff = question["error_details"].partition(f"{told}, changes since")
        assert line in diff.partition("feature/")[0].splitlines()
    assert not (house.repository / "worktrees/d.join/join.txt").exists()  # no agent has run

    by_hand = house.repository / "worktrees/d.right"
    assert str(by_hand) in question["options"][0]
    git(by_hand, "merge", "-q", "-X", "ours", "-m", "Both", "feature/d.left")
    house.drop("guidance", "d.join.txt", "merged it: go on")
    response = house.response("d")
    assert response["status"] == "partial", house.tail()
    for name in ("left", "right"):
        git(house.repository, "merge-base", "--is-ancestor", f"feature/d.{name}", "feature/d.join")
    answer = next(task["payload"] for task in response["payload"]["tasks"] if task["task_id"] == "join")
    assert (answer["files_changed"], answer["commits"], answer["attempts"]) == (["join.txt"], 1, 2)
    assert seen_by(house, "d.join", attempt=2)["success_criteria"] == ["feature/d.left on top of a, b"]
