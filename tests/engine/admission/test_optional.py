"""Optional steps and tests: what may be left undone is read, marked for the agent, and never refused as unknown."""

from __future__ import annotations

from typing import Any

import pytest
from tests.engine.admission.conftest import Desk

from haikud.contracts.plan import Task
from haikud.engine.attempts.specs import build_assignment

STEPS = ["Add the button", {"step": "Add a tooltip", "optional": True}, {"step": "Test it"}, "Polish it (optional)"]


def only_task(desk: Desk, **fields: Any) -> Task:
    plan = desk.prepare({"title": "t", **fields})
    assert plan.extra == {}
    return plan.tasks[0]


@pytest.mark.parametrize("key", ["steps", "implementation_steps"])
def test_optional_steps_are_marked_for_the_agent(desk: Desk, key: str):
    task = only_task(desk, **{key: STEPS})
    assert task.steps == ["Add the button", "Add a tooltip", "Test it", "Polish it (optional)"]
    assert task.optional_steps == [2, 4]
    assert build_assignment(task).steps == [
        "Add the button",
        "Add a tooltip (optional)",
        "Test it",
        "Polish it (optional)",
    ]


def test_plain_steps_stay_as_they_are(desk: Desk):
    task = only_task(desk, steps=["One", "Two"])
    assert (task.steps, task.optional_steps) == (["One", "Two"], [])
    assert build_assignment(task).steps == ["One", "Two"]


def test_blank_steps_are_left_out_and_the_marks_stay_where_they_belong(desk: Desk):
    task = only_task(desk, steps=["One", " ", {"step": "", "optional": True}, {"step": "Two", "optional": True}])
    assert (task.steps, task.optional_steps) == (["One", "Two"], [2])


@pytest.mark.parametrize(
    ("step", "pointer"),
    [
        ({"step": 1, "optional": True}, "/steps/0/step"),
        ({"step": "One", "optional": "yes"}, "/steps/0/optional"),
        ({"Add": "a button"}, "/steps/0"),
    ],
)
def test_a_wrong_type_is_told_with_its_place(desk: Desk, step: dict[str, Any], pointer: str):
    assert [fault.field for fault in desk.reject({"title": "t", "steps": [step]}).faults] == [pointer]


def test_unknown_fields_of_a_step_are_kept(desk: Desk):
    plan = desk.prepare({"title": "t", "steps": [{"step": "One", "why": "because"}]})
    assert plan.extra == {"/steps/0/why": "because"}


def test_optional_tests_are_part_of_the_context_and_the_nearest_word_counts(desk: Desk):
    context = {"test_command": "make test", "optional_test_commands": ["make slow", "make e2e"]}
    assert only_task(desk, context=context).context.optional_test_commands == ["make slow", "make e2e"]
    assert only_task(desk, optional_test_commands="make slow").context.optional_test_commands == ["make slow"]
    tasks = [{"id": "a", "title": "a"}, {"id": "b", "title": "b", "context": {"optional_test_commands": []}}]
    plan = desk.prepare({"task_plan": {"id": "p", "tasks": tasks, "context": context}})
    assert [task.context.optional_test_commands for task in plan.tasks] == [["make slow", "make e2e"], []]
    assert plan.extra == {}
