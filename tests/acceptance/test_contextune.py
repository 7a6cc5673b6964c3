"""A Contextune plan folder, from `haikud submit FOLDER` to the merged main branch, with five real attempts."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.house import House
from tests.support.repository import git

FOLDER = Path(__file__).resolve().parents[1] / "data" / "contextune" / "calculator"

WORKER = """
for file in $(python3 -c 'import json, os; print(*json.load(open(os.environ["TASK_PLAN_FILE"]))["files"])'); do
  mkdir -p "$(dirname "$file")"; echo "# $TASK_ID" > "$file"
done
git add -A && git commit -qm "Work on $TASK_ID"
"""


def test_five_tasks_of_a_contextune_folder_run_in_order_and_are_merged(house: House):
    house.role("worker", WORKER)
    house.settings = {"default_role": "worker"}
    house.start()
    done = house.haikud("submit", str(FOLDER), "--wait", "--json")
    assert done.returncode == 0, done.stderr
    assert "task-0 is completed: left out" in done.stderr
    answer = json.loads(done.stdout)
    plan_id = answer["payload"]["plan_id"]
    assert plan_id.startswith("calculator-more-operations-")
    tasks = {task["task_id"]: task for task in answer["payload"]["tasks"]}
    assert {name: task["status"] for name, task in tasks.items()} == {f"task-{n}": "success" for n in range(1, 6)}
    assert all(task["payload"]["tests_passing"] for task in tasks.values())
    manual = house.repository / "worktrees" / f"{plan_id}.task-5"
    assert {"subtract.py", "multiply.py", "divide.py", "command.py", "MANUAL.md"} <= {p.name for p in manual.iterdir()}
    merged = house.haikud("merge", plan_id)
    assert merged.returncode == 0, merged.stderr
    assert "merged 5 branches" in merged.stdout
    assert "haikud prune" in merged.stdout
    subjects = git(house.repository, "log", "--first-parent", "--reverse", "--format=%s").splitlines()
    assert subjects == [
        "Start",
        *(
            f"Merge {plan_id}.{name}"
            for name in (
                "task-1: Add subtraction",
                "task-2: Add multiplication",
                "task-3: Add division",
                "task-4: Make it a command",
                "task-5: Write the manual",
            )
        ),
    ]
    assert git(house.repository, "status", "--porcelain") == ""
