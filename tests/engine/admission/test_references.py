"""References to other tasks' results, as admission sees them."""

from __future__ import annotations

from typing import Any

import pytest

from haikud.engine.admission.references import MOST_REFERENCES

NUMBER = "{{ tasks.one.payload.issue_number }}"


@pytest.fixture(autouse=True)
def with_issues(desk) -> None:
    desk.set(issues="local")


def plan(**last: Any) -> dict[str, Any]:
    """A chain of three, and one that stands alone; `last` are fields of the third."""
    tasks = [
        {"id": "one", "title": "One"},
        {"id": "two", "title": "Two", "dependencies": ["one"]},
        {"id": "three", "title": "Three", "dependencies": ["two"], **last},
        {"id": "alone", "title": "Alone"},
    ]
    return {"task_plan": {"id": "p", "tasks": tasks}}


def test_a_task_may_name_all_that_it_depends_on(desk):
    fields = {
        "description": f"Close #{NUMBER} as {{{{ tasks.two.status }}}} did",
        "steps": ["{{ tasks.two.metrics.cost_usd }}"],
        "tests": [NUMBER],
        "success_criteria": NUMBER,
        "params": {"issue": NUMBER, "deep": [{"x": NUMBER}]},
        "context": {"note": NUMBER},
        "unknown": "{{ tasks.nobody.status }}",
        "issue_number": NUMBER,
    }
    found = desk.prepare(plan(**fields)).task("three")
    assert found.description == fields["description"]  # plan.json keeps what was asked for
    assert found.context.extra == {"note": NUMBER}
    assert (found.issue_number, found.issue_from) == (None, NUMBER)


@pytest.mark.parametrize(
    ("fields", "pointer", "code", "fix"),
    [
        ({"description": "{{ tasks.on.status }}"}, "description", "UNKNOWN_REFERENCE", "write one"),
        ({"description": "{{ tasks.alone.status }}"}, "description", "UNKNOWN_REFERENCE", "add 'alone' to its depend"),
        ({"description": "{{ tasks.three.status }}"}, "description", "UNKNOWN_REFERENCE", "that this one depends on"),
        ({"steps": ["ok", "{{ tasks.one.payload.isue_number }}"]}, "steps/1", "UNKNOWN_REFERENCE", "issue_number"),
        ({"steps": ["{{ tasks.one.metrics.cost }}"]}, "steps/0", "UNKNOWN_REFERENCE", "cost_usd"),
        ({"steps": ["{{ tasks.one.sender }}"]}, "steps/0", "BAD_REFERENCE", "tasks.task-1.payload"),
        ({"steps": ["{{ tasks.one }}"]}, "steps/0", "BAD_REFERENCE", r"\{{"),
        ({"steps": [NUMBER] * (MOST_REFERENCES + 1)}, "", "BAD_REFERENCE", "whole objects"),
        ({"title": NUMBER}, "title", "MISPLACED_REFERENCE", "description or steps"),
        ({"files": [f"{NUMBER}.py"]}, "files/0", "MISPLACED_REFERENCE", "description or steps"),
        ({"type": NUMBER}, "type", "MISPLACED_REFERENCE", "description or steps"),
        ({"test_command": f"echo {NUMBER}"}, "test_command", "MISPLACED_REFERENCE", "description or steps"),
        ({"context": {"setup_command": NUMBER}}, "context/setup_command", "MISPLACED_REFERENCE", "description or"),
        ({"optional_test_commands": [NUMBER]}, "optional_test_commands/0", "MISPLACED_REFERENCE", "description or"),
        (
            {"context": {"optional_test_commands": [NUMBER]}},
            "context/optional_test_commands/0",
            "MISPLACED_REFERENCE",
            "steps",
        ),
        (
            {"issue_number": "{{ tasks.alone.payload.issue_number }}"},
            "issue_number",
            "UNKNOWN_REFERENCE",
            "add 'alone'",
        ),
        ({"issue_number": f"#{NUMBER}"}, "issue_number", "MISPLACED_REFERENCE", "description or"),
        ({"params": {"command": NUMBER}}, "params/command", "MISPLACED_REFERENCE", "description or steps"),
        (
            {"params": {"deep": {"run_command": NUMBER}}},
            "params/deep/run_command",
            "MISPLACED_REFERENCE",
            "description",
        ),
        ({"params": {"repository": NUMBER}}, "params/repository", "MISPLACED_REFERENCE", "description or steps"),
    ],
)
def test_what_cannot_be_resolved_or_must_not_is_a_fault(
    desk, fields: dict[str, Any], pointer: str, code: str, fix: str
):
    faults = desk.faults(plan(**fields))
    fault = faults[f"/task_plan/tasks/2/{pointer}".rstrip("/")]
    assert fault.code == code
    assert fix in fault.fix


def test_why_a_command_may_hold_none_is_said(desk):
    request = plan()
    request["task_plan"]["context"] = {"test_command": NUMBER, "note": NUMBER}
    faults = desk.faults(request)
    assert "every task" in faults["/task_plan/context/note"].found
    fault = desk.faults(plan(lint_command=NUMBER))["/task_plan/tasks/2/lint_command"]
    assert "another agent's words" in fault.found


@pytest.mark.parametrize(
    ("field", "first", "fix"),
    [
        ("issue_number", {}, "issues: local"),
        ("issue_url", {"issue_number": 7}, "issues: local"),
        ("tests_passing", {}, "give one a test_command"),
        ("error_report.error.code", {}, "another field"),
    ],
)
def test_a_field_that_will_have_no_value_is_told_before_money_is_spent(
    desk, field: str, first: dict[str, Any], fix: str
):
    desk.set(issues="none")
    request = plan(description=f"{{{{ tasks.one.payload.{field} }}}}")
    request["task_plan"]["tasks"][0] |= first
    fault = desk.faults(request)["/task_plan/tasks/2/description"]
    assert (fault.code, fix in fault.fix) == ("UNKNOWN_REFERENCE", True)


def test_what_makes_it_have_one(desk):
    desk.set(issues="none")
    fields = "{{ tasks.one.payload.issue_number }} {{ tasks.one.payload.tests_passing }}"
    request = plan(description=fields)
    request["task_plan"]["tasks"][0] |= {"issue_number": 7, "test_command": "true"}
    assert desk.prepare(request)
    operation = {"id": "one", "role": "issue-orchestrator", "operation": "create_issue", "params": {"title": "T"}}
    request = plan(description=NUMBER, role="issue-orchestrator", operation="comment_issue")
    del request["task_plan"]["tasks"][2]["title"]
    request["task_plan"]["tasks"][2]["params"] = {"title": f"On {NUMBER}"}
    request["task_plan"]["tasks"][0] = operation
    assert desk.prepare(request).task("three").title == "issue-orchestrator: comment_issue"


def test_an_operation_may_answer_what_no_other_does(desk):
    request = plan(description="{{ tasks.one.payload.created }}")
    request["task_plan"]["tasks"][0] = {
        "id": "one",
        "role": "issue-orchestrator",
        "operation": "create_issue",
        "params": {"title": "T"},
    }
    assert desk.prepare(request).task("three")


def test_a_request_of_one_task_has_nobody_to_name(desk):
    faults = desk.faults({"task_id": "t", "title": "T", "description": NUMBER})
    assert "there are none" in faults["/description"].expected
    faults = desk.faults({"template": "feature-implementation", "variables": {"feature_name": NUMBER}})
    assert {fault.code for fault in faults.values()} <= {"UNKNOWN_REFERENCE", "MISPLACED_REFERENCE"}
    assert desk.prepare({"task_id": "t", "title": "T", "description": r"\{{ tasks.x.status }}"})


def test_a_cycle_is_the_only_fault_of_a_cycle(desk):
    request = plan(description=NUMBER)
    request["task_plan"]["tasks"][0]["dependencies"] = ["three"]
    assert {fault.code for fault in desk.faults(request).values()} == {"CYCLE"}
