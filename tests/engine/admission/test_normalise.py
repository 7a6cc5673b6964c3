"""What the five shapes become: aliases, ids, contexts, roles, what is unknown."""

from __future__ import annotations

from typing import Any

import pytest
from tests.engine.admission.conftest import Desk

from haikud.contracts.plan import RequestShape
from haikud.contracts.states import Priority


def test_the_same_task_in_every_shape_is_the_same_task(desk: Desk):
    fields: dict[str, Any] = {"files": ["a.py"], "steps": ["one"], "success_criteria": ["done"], "tests": ["works"]}
    context = {"test_command": "make test", "project_type": "python"}
    requests: list[dict[str, Any]] = [
        {"task_id": "x", "title": "T", **fields, "context": context},
        {"task_id": "x", "title": "T", **fields, **context},
        {"correlation_id": "x", "payload": {"task": {"title": "T", **fields}, "context": context}},
        {"correlation_id": "x", "payload": {"title": "T", **fields, "context": context}},
        {"task": {"title": "T", **fields}, "context": context, "id": "x"},
        {"id": "x", "task": "T", **fields, "context": context},
    ]
    tasks = [desk.prepare(request).tasks for request in requests]
    assert all(task == tasks[0] for task in tasks)
    (task,) = tasks[0]
    assert (task.id, task.ref, task.title) == ("x", "x", "T")
    assert task.context.test_command == "make test"
    assert task.branch == "feature/x"
    assert task.worktree == f"{desk.repository}/worktrees/x"
    assert task.repository is not None
    assert task.repository.main_branch == "main"
    assert len(task.repository.base_sha) == 40


def test_aliases_and_plain_strings(desk: Desk):
    plan = desk.prepare(
        {
            "title": "T",
            "implementation_steps": ["one", " "],
            "tests": "it works",
            "success_criteria": "all good",
            "files": ["./a.py", {"path": "b.py", "operation": "create", "template": "react-page"}, "a.py"],
        }
    )
    (task,) = plan.tasks
    assert task.steps == ["one"]
    assert task.tests == ["it works"]
    assert task.success_criteria == ["all good"]
    assert [(f.path, f.operation, f.template) for f in task.files] == [
        ("a.py", None, None),
        ("b.py", "create", "react-page"),
    ]
    assert any("repeats" in warning for warning in plan.warnings)


def test_steps_stated_twice_are_a_fault_unless_they_agree(desk: Desk):
    assert desk.prepare({"title": "T", "steps": ["a"], "implementation_steps": ["a"]})
    faults = desk.faults({"title": "T", "steps": ["a"], "implementation_steps": ["b"]})
    assert "differ" in faults["/implementation_steps"].found


@pytest.mark.parametrize(
    ("request_", "plan_id", "correlation_id"),
    [
        ({"task_plan": {"id": "one", "tasks": [{"title": "T"}]}, "task_id": "two"}, "one", "one"),
        ({"task_id": "two", "id": "three", "correlation_id": "four", "title": "T"}, "two", "four"),
        ({"id": "three", "correlation_id": "four", "title": "T"}, "three", "four"),
        ({"correlation_id": "four", "payload": {"task": {"title": "T"}}}, "four", "four"),
        ({"correlation_id": "req/1", "payload": {"task": {"title": "T"}, "task_id": "p"}}, "p", "req/1"),
        ({"correlation_id": "c", "payload": {"task": {"id": "in-task", "title": "T"}}}, "in-task", "c"),
        ({"agent": "test-runner", "task": "run_tests", "id": "agents"}, "agents", "agents"),
        ({"template": "feature-implementation", "variables": {"feature_name": "x"}, "task_id": "t"}, "t", "t"),
        ({"title": "T"}, "my-request-v1-0", "my-request-v1-0"),
    ],
)
def test_the_plan_id(desk: Desk, request_: dict[str, Any], plan_id: str, correlation_id: str):
    plan = desk.prepare(request_, "my request v1.0.json")
    assert (plan.id, plan.correlation_id) == (plan_id, correlation_id)


def test_an_id_from_the_file_name_avoids_those_that_are_taken(desk: Desk):
    desk.is_taken = {"request", "request-2"}.__contains__
    assert desk.prepare({"title": "T"}).id == "request-3"
    assert desk.prepare({"title": "T", "id": "request"}).id == "request"
    rejected = desk.reject({"titel": "T"})
    assert (rejected.plan_id, rejected.states_id) == ("request-3", False)


def test_task_ids_of_a_plan(desk: Desk):
    tasks = [{"title": "a"}, {"title": "b", "id": "task-3"}, {"title": "c"}, {"title": "d", "task_id": "x"}]
    plan = desk.prepare({"task_plan": {"id": "p", "tasks": tasks}})
    assert [task.id for task in plan.tasks] == ["task-1", "task-3", "task-3-2", "x"]
    assert [task.ref for task in plan.tasks] == ["p.task-1", "p.task-3", "p.task-3-2", "p.x"]
    assert plan.answers_as_plan
    alone = desk.prepare({"task_plan": {"id": "p", "tasks": [{"title": "a", "id": "p"}]}})
    assert alone.tasks[0].ref == "p"
    only = desk.prepare({"task_plan": {"id": "p", "tasks": [{"title": "a"}]}})
    assert only.tasks[0].ref == "p.task-1"
    faults = desk.faults({"task_plan": {"tasks": [{"title": "a", "id": "x"}, {"title": "b", "id": "x"}]}})
    assert faults["/task_plan/tasks/1/id"].code == "DUPLICATE_ID"


def test_a_tasks_context_goes_before_the_plans(desk: Desk):
    plan = desk.prepare(
        {
            "context": {"lint_command": "outer lint", "project_type": "outer", "framework": "next"},
            "task_plan": {
                "id": "p",
                "context": {"test_command": "plan test", "files": ["README.md"]},
                "tasks": [
                    {"title": "a", "context": {"test_command": "own test", "files": ["a.py"], "hint": {"k": 1}}},
                    {"title": "b", "test_command": "", "issue_number": 7},
                ],
            },
        }
    )
    one, two = (task.context for task in plan.tasks)
    assert (one.test_command, one.lint_command, one.project_type) == ("own test", "outer lint", "outer")
    assert one.files == ["a.py"]
    assert one.extra == {"framework": "next", "hint": {"k": 1}}
    assert (two.test_command, two.lint_command, two.files) == (None, "outer lint", ["README.md"])
    assert plan.tasks[1].issue_number == 7
    assert any("/context/framework" in warning for warning in plan.warnings)


def test_unknown_fields_are_kept_and_noted(desk: Desk):
    plan = desk.prepare(
        {
            "task_plan": {
                "id": "p",
                "owner": "me",
                "tasks": [{"title": "a", "dependancies": ["x"], "files": [{"path": "a", "mode": 7}]}],
                "metadata": {"created_by": "main-agent", "anything": [1]},
            },
            "a/b": None,
            "c~d": {"deep": 1},
        }
    )
    assert plan.extra == {
        "/task_plan/owner": "me",
        "/task_plan/tasks/0/dependancies": ["x"],
        "/task_plan/tasks/0/files/0/mode": 7,
        "/c~0d": {"deep": 1},
    }
    assert any("did you mean `dependencies`" in warning for warning in plan.warnings)
    assert plan.metadata == {"created_by": "main-agent", "anything": [1]}


def test_very_many_unknown_fields_are_kept_and_counted(desk: Desk):
    plan = desk.prepare({"title": "T", **{f"unknown{n}": n for n in range(5000)}})
    assert len(plan.extra) == 5000
    assert len(plan.warnings) == 101
    assert "4900 more" in plan.warnings[-1]


@pytest.mark.parametrize(
    ("stated", "role"),
    [
        ({}, "parallel-task-executor"),
        ({"role": "test-runner"}, "test-runner"),
        ({"agent": "test-runner"}, "test-runner"),
        ({"agent": "parallel-task-executor-2"}, "parallel-task-executor"),
        ({"receiver": "main-agent"}, "parallel-task-executor"),
        ({"receiver": "test-runner"}, "test-runner"),
        ({"receiver": "test-runner", "role": "parallel-task-executor"}, "parallel-task-executor"),
    ],
)
def test_the_role(desk: Desk, stated: dict[str, str], role: str):
    assert desk.prepare({"title": "T", **stated}).tasks[0].role == role


def test_an_unknown_role_is_a_fault_with_the_nearest(desk: Desk):
    faults = desk.faults({"receiver": "test-runer", "payload": {"task": {"title": "T"}}})
    assert faults["/receiver"].fix == "write test-runner"
    faults = desk.faults({"task_plan": {"role": "nobody", "tasks": [{"title": "T"}]}})
    assert "test-runner" in faults["/task_plan/role"].expected


def test_priorities(desk: Desk):
    plan = desk.prepare({"tasks": [{"title": "a", "priority": "High"}, {"title": "b"}], "priority": "low"})
    assert [task.priority for task in plan.tasks] == [Priority.HIGH, Priority.LOW]
    assert desk.faults({"title": "T", "priority": "urgent"})["/priority"].fix == "write critical"
    assert desk.faults({"title": "T", "priority": "hihg"})["/priority"].fix == "write high"
    assert desk.faults({"title": "T", "priority": 1})["/priority"].code == "WRONG_TYPE"


def test_an_agent_request(desk: Desk):
    params = {"title": "Implement logout", "body": "b", "labels": ["x"], "more": {"deep": 1}}
    plan = desk.prepare({"agent": "issue-orchestrator", "task": "create_issue", "params": params})
    (task,) = plan.tasks
    assert plan.shape is RequestShape.AGENT_REQUEST
    assert (task.role, task.operation, task.title) == ("issue-orchestrator", "create_issue", "Implement logout")
    assert task.params == params
    assert (task.workspace, task.repository, task.branch, task.worktree) == ("none", None, None, None)
    assert plan.extra == {}
    assert desk.prepare({"agent": "test-runner", "task": "run_tests"}).tasks[0].title == "test-runner: run_tests"
    in_words = desk.prepare({"agent": "test-runner", "task": "Run full test suite"}).tasks[0]
    assert (in_words.title, in_words.workspace) == ("Run full test suite", "worktree")


def test_an_operation_of_a_plans_task(desk: Desk):
    issue = {"id": "issue", "agent": "issue-orchestrator", "task": "create_issue", "params": {"title": "T"}}
    plan = desk.prepare({"task_plan": {"id": "p", "tasks": [issue, {"title": "U", "dependencies": ["issue"]}]}})
    assert plan.tasks[0].operation == "create_issue"
    assert plan.tasks[1].dependencies == ["issue"]


def test_operations_that_a_role_does_not_have(desk: Desk):
    faults = desk.faults({"agent": "issue-orchestrator", "task": "create-issue", "params": {}})
    assert faults["/task"].fix == "write create_issue"
    assert desk.faults({"agent": "test-runner", "task": "run_test"})["/task"].fix == "write run_tests"
    assert desk.faults({"agent": "issue-orchestrator", "params": {}})["/task"].code == "MISSING"
    assert desk.faults({"title": "T", "role": "worktree-manager"})["/task"].code == "UNKNOWN_OPERATION"


def test_an_operation_on_a_repository(desk: Desk):
    request: dict[str, Any] = {"agent": "worktree-manager", "task": "list_worktrees"}
    (task,) = desk.prepare(request).tasks
    assert task.repository is not None
    assert (task.workspace, task.branch, task.params) == ("none", None, {"repository": str(desk.repository)})
    desk.set(default_repository="/does/not/exist")
    assert desk.prepare({**request, "params": {"repository": str(desk.repository)}}).tasks[0].repository
    assert desk.faults({**request, "params": {"repository": "/nowhere"}})["/params/repository"].code == "BAD_REPOSITORY"
    assert desk.faults({**request, "params": {"repository": 5}})["/params/repository"].code == "WRONG_TYPE"


def test_params_say_how_to_test_and_the_context_goes_before_them(desk: Desk):
    request = {"agent": "test-runner", "task": "run_tests", "params": {"test_command": "make test"}}
    assert desk.prepare(request).tasks[0].context.test_command == "make test"
    assert desk.prepare({**request, "context": {"test_command": "x"}}).tasks[0].context.test_command == "x"


def test_a_template_request(desk: Desk):
    plan = desk.prepare(
        {
            "payload": {
                "template": "feature-implementation",
                "variables": {"feature_name": "logout {button}"},
                "implementation_steps": ["own step"],
                "files": ["a.py"],
                "metadata": {"m": 1},
                "odd": True,
            },
            "sender": "someone",
        }
    )
    (task,) = plan.tasks
    assert plan.shape is RequestShape.TEMPLATE_REQUEST
    assert plan.sender == "someone"
    assert (task.title, task.steps, task.tests) == (
        "logout {button}",
        ["own step"],
        ["Feature works as expected", "No regressions"],
    )
    assert plan.metadata == {"m": 1}
    assert plan.extra == {"/payload/odd": True}


def test_template_requests_that_do_not_fit(desk: Desk):
    name = "feature-implementation"
    assert desk.faults({"template": "feature-implmentation"})["/template"].fix == f"write {name}"
    assert desk.faults({"template": 5})["/template"].code == "WRONG_TYPE"
    assert "add feature_name" in desk.faults({"template": name})["/variables"].fix
    fault = desk.faults({"template": name, "variables": {"feature": "x", "zzz": "y"}})["/variables"]
    assert fault.code == "BAD_VARIABLES"
    assert "rename 'feature' to feature_name" in fault.fix
    assert "zzz" in fault.fix
    assert desk.faults({"template": name, "variables": {"feature_name": []}})["/variables"].code == "BAD_VARIABLES"
    assert desk.faults({"template": name, "variables": []})["/variables"].code == "WRONG_TYPE"


def test_null_counts_as_absent(desk: Desk):
    request = dict.fromkeys(
        [
            "description",
            "files",
            "steps",
            "tests",
            "dependencies",
            "context",
            "priority",
            "role",
            "model",
            "id",
            "extra",
        ]
    )
    plan = desk.prepare({**request, "title": "T"})
    assert plan.extra == {}
    assert plan.id == "request"


def test_an_envelope_that_is_odd_is_warned_about(desk: Desk):
    plan = desk.prepare({"version": "2.0", "timestamp": "yesterday", "payload": {"task": {"title": "T"}}})
    assert len(plan.warnings) == 2
    assert desk.faults({"version": 1.0, "payload": {"task": {"title": "T"}}})["/version"].code == "WRONG_TYPE"


def test_a_secret_in_a_request_is_warned_about_and_not_repeated(desk: Desk):
    token = f"ghp_{'a1B2' * 9}"
    (warning,) = desk.prepare({"title": "Release it", "description": f"Use {token}"}).warnings
    assert "GitHub token" in warning
    assert token not in warning
