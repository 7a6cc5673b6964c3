"""Where a plan's work would lie: odd paths are taken as they are, and what is in the way is a fault of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.engine.admission.conftest import Desk
from tests.support.repository import make_repository

from haikud.workspace.git import Git


@pytest.mark.parametrize("name", ["two  blanks", "a\ttab", 'a "quote"', "ünï"])
def test_a_repositorys_path_is_taken_as_it_is_written(desk: Desk, tmp_path: Path, name: str):
    project = make_repository(tmp_path / name)
    plan = desk.prepare({"task_id": "a", "title": "t", "files": ["x.py"], "repository": f" {project}\n"})
    assert plan.tasks[0].repository is not None
    assert plan.tasks[0].repository.path == str(project)


def test_a_line_break_in_a_repositorys_path_is_refused_as_that(desk: Desk, tmp_path: Path):
    project = make_repository(tmp_path / "a\nb")
    fault = desk.faults({"task_id": "a", "title": "t", "files": ["x.py"], "repository": str(project)})["/repository"]
    assert (fault.code, "line breaks" in fault.found) == ("BAD_TEXT", True)


def test_a_branch_in_the_way_is_a_fault_of_the_task_that_wants_it(desk: Desk, tmp_path: Path):
    project = make_repository(tmp_path / "project")
    Git(project / ".git").run("branch", "feature/p.two")
    tasks = [{"id": name, "title": "t", "files": [f"{name}.py"]} for name in ("one", "two")]
    request = {"task_plan": {"id": "p", "tasks": tasks}, "repository": str(project)}
    assert {where: fault.code for where, fault in desk.faults(request).items()} == {
        "/task_plan/tasks/1/id": "BRANCH_TAKEN"
    }
    Git(project / ".git").run("branch", "-m", "feature/p.two", "feature")
    assert [fault.fix for fault in desk.reject(request).faults] == ["rename it: git branch -m feature NEW-NAME"] * 2


def test_five_hundred_tasks_in_a_chain_or_a_fan_need_no_recursion(desk: Desk):
    desk.set(max_request_nodes=100_000)
    names = [f"t{number}" for number in range(500)]
    chain = [{"id": name, "title": "t", "dependencies": names[place - 1 : place]} for place, name in enumerate(names)]
    fan = [{"id": name, "title": "t", "dependencies": names[:-1] if name == names[-1] else []} for name in names]
    for tasks in (chain[::-1], fan):
        assert len(desk.prepare({"task_plan": {"id": "p", "tasks": tasks}}).tasks) == 500
