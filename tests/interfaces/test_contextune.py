"""Contextune's plan folders become requests of shape 2 with nothing lost, and faults name file and line."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.support.repository import make_repository

from haikud.contracts.settings import Settings
from haikud.interfaces.checking import check_request
from haikud.interfaces.contextune.plan_folder import import_folder
from haikud.interfaces.given import CannotBeAdmitted
from haikud.interfaces.reading_requests import read_given
from haikud.interfaces.trouble import Trouble
from haikud.spool.layout import SpoolLayout

FOLDER = Path(__file__).resolve().parents[1] / "data" / "contextune" / "calculator"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy to break."""
    shutil.copytree(FOLDER, tmp_path / "plans")
    return tmp_path / "plans"


def imported(folder: Path) -> dict[str, Any]:
    found = json.loads(import_folder(folder).data)["task_plan"]
    assert isinstance(found, dict)
    return found


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def faults_of(folder: Path, repository: Path) -> list[tuple[str, str]]:
    """Where each fault is, and what was found."""
    try:
        check_request(
            import_folder(folder),
            layout=SpoolLayout(folder / "no-spool"),
            settings=Settings.model_validate({}),
            repository=repository,
            here=folder,
        )
    except CannotBeAdmitted as error:
        return [(fault.field, fault.found) for fault in error.faults]
    return []


def test_each_section_goes_where_the_agent_and_the_daemon_look_for_it():
    plan = imported(FOLDER)
    tasks = {task["id"]: task for task in plan["tasks"]}
    assert list(tasks) == ["task-1", "task-2", "task-3", "task-4", "task-5"]
    one = tasks["task-1"]
    assert (one["title"], one["priority"]) == ("Add subtraction", "high")
    assert one["description"].startswith("Write `subtract(a, b)`, which returns the difference.")
    assert one["files"] == [
        {"path": "subtract.py", "operation": "create"},
        {"path": "tests/test_subtract.py", "operation": "create"},
    ]
    assert one["context"] == {"files": ["calc.py"]}
    assert one["tests"][0] == "Unit: Test that 3 - 1 is 2"
    assert one["tests"][2] == "Integration: Test it beside add"
    assert one["success_criteria"] == ["All unit tests pass", "No regressions"]
    for kept in ("Pattern to follow", "`~/notes.md` (how it was agreed)", "Integers stay integers.", "can only add"):
        assert kept in one["description"]
    assert "Auto-created" not in one["description"]
    assert tasks["task-2"]["steps"] == [
        "(done already) Look at add",
        "Write the function\n  - with a docstring",
        "Write its test",
    ]
    assert tasks["task-3"]["steps"][0].startswith("Step 1: Write the function\n```python\n# not a heading")
    assert tasks["task-3"]["files"] == [{"path": "divide.py", "operation": "create"}]
    assert tasks["task-4"]["steps"] == ["Read the arguments", "Call the operation"]
    assert tasks["task-5"]["description"].startswith("Say in MANUAL.md")


def test_what_is_completed_is_left_out_and_counts_as_done():
    given = import_folder(FOLDER)
    tasks = {task["id"]: task for task in json.loads(given.data)["task_plan"]["tasks"]}
    assert "dependencies" not in tasks["task-1"]  # on task-0 alone
    assert tasks["task-4"]["dependencies"] == ["task-1", "task-3"]  # the file's, and the index's
    assert "tasks/task-0.md: task-0 is completed: left out, and counts as done" in given.notes
    assert given.name == "calculator-more-operations.json"


def test_what_a_request_has_no_field_for_is_kept(folder: Path):
    kept = imported(FOLDER)["metadata"]["contextune"]
    assert {"metadata", "overview", "research", "features", "shared_resources", "testing", "changelog"} <= set(kept)
    assert kept["tasks"]["task-2"] == {
        "labels": ["parallel-execution"],
        "complexity": "simple",
        "status": "in_progress",
        "branch": "feature/task-2",
        "worktree": "worktrees/task-2",
    }
    (folder / "tasks" / "task-9.md").write_text("---\nid: task-9\n---\n# Not listed\n")
    assert "tasks/task-9.md is not in plan.yaml's list of tasks: left out" in import_folder(folder).notes


def test_its_plan_file_stands_for_the_folder_and_a_plan_of_ours_does_not(folder: Path, tmp_path: Path):
    assert read_given(str(folder / "plan.yaml")) == read_given(str(folder))
    ours = tmp_path / "plan.yaml"
    ours.write_text("tasks: [{title: One, files: [tasks/a.md]}]\n")
    (tmp_path / "tasks").mkdir()
    assert read_given(str(ours)).data == ours.read_bytes()


def test_it_is_admitted_as_it_stands_and_faults_of_admission_name_file_and_line(folder: Path, tmp_path: Path):
    repository = make_repository(tmp_path / "project")
    assert faults_of(folder, repository) == []
    edit(folder / "tasks" / "task-1.md", "priority: high", "priority: hihg")
    edit(folder / "tasks" / "task-1.md", "- `subtract.py`", "- `/etc/subtract.py`")
    edit(folder / "tasks" / "task-3.md", "  - task-2", "  - task-2\n  - task-7")
    edit(folder / "plan.yaml", "test_command: python3 -m unittest -q", "test_command: [python3]")
    found = dict(faults_of(folder, repository))
    assert found["tasks/task-1.md:3"] == "'hihg'"
    assert "/etc/subtract.py" in found["tasks/task-1.md:27 (path)"]
    assert "task-7" in found["tasks/task-3.md:7"]
    assert "plan.yaml:84 (test_command)" in found


@pytest.mark.parametrize(
    ("name", "old", "new", "place", "found"),
    [
        ("plan.yaml", 'name: "Add division"', 'name: "Add division', "plan.yaml:44", "did not find expected key"),
        ("plan.yaml", "tasks/task-3.md", "tasks/task-33.md", "plan.yaml:44", "tasks/task-33.md, which is not there"),
        ("plan.yaml", "tasks/task-3.md", "../../secret", "plan.yaml:44", "leads out of the folder"),
        ("plan.yaml", 'id: "task-3"', 'id: "task-8"', "tasks/task-3.md:2", "'task-3'"),
        ("plan.yaml", 'priority: "low"', 'priority: "low"\n    priority: 1', "plan.yaml:", "twice"),
        ("tasks/task-2.md", "status: in_progress", "status: [", "tasks/task-2.md:", ""),
        ("tasks/task-2.md", "---\n", "", "tasks/task-2.md:1", "no front matter"),
        ("tasks/task-2.md", "status: in_progress\n", "\t: x\n", "tasks/task-2.md:4", ""),
    ],
)
def test_a_fault_of_the_folder_names_file_and_line(folder: Path, name: str, old: str, new: str, place: str, found: str):
    edit(folder / name, old, new)
    with pytest.raises(CannotBeAdmitted) as caught:
        import_folder(folder)
    (fault, *_) = caught.value.faults
    assert fault.field.startswith(place)
    assert found in fault.found


def test_a_folder_that_is_no_plan_or_all_done_says_so(folder: Path, tmp_path: Path):
    with pytest.raises(Trouble, match=r"without a plan\.yaml; there is one in .*plans"):
        import_folder(tmp_path)
    for path in (folder / "tasks").iterdir():
        path.write_text(path.read_text().replace("status: pending", "status: completed").replace("in_progress", "done"))
    with pytest.raises(Trouble, match="all of its 6 tasks are completed"):
        import_folder(folder)
    os.mkfifo(folder / "tasks" / "pipe.md")
    edit(folder / "plan.yaml", "tasks/task-1.md", "tasks/pipe.md")
    with pytest.raises(CannotBeAdmitted, match="not there"):
        import_folder(folder)
