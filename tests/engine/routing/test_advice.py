"""Advice on single tasks: the guide's own lines, words that only look like others, and what a plan says by itself."""

from __future__ import annotations

import time
from typing import Any

import pytest
from tests.support.made import make_decision, make_task

from haikud.contracts.attempt import ResolvedRole
from haikud.contracts.plan import FileSpec, TaskContext
from haikud.contracts.routing import Routed
from haikud.contracts.settings import Settings, default_settings
from haikud.contracts.states import TaskState
from haikud.engine.routing.advice import advise
from haikud.engine.routing.speaking import advice_for, question_before_start, warning_of
from haikud.engine.routing.tables import DECISION_MATRIX, PERFECT_FOR_HAIKU, REQUIRES_SONNET, Factor
from haikud.roles.catalogue import find_roles
from haikud.roles.files import RoleFile

EXECUTOR = RoleFile("parallel-task-executor")
EXACT = {
    "files": [FileSpec(path="app/report.py"), FileSpec(path="tests/test_report.py")],
    "steps": ["Add total() to app/report.py", "Test it in tests/test_report.py"],
    "tests": ["total([1, 2]) is 3"],
}


def model_of(title: str, **fields: Any) -> Routed:
    return advise(make_task(title=title, **fields)).model


@pytest.mark.parametrize("kind", PERFECT_FOR_HAIKU, ids=lambda kind: kind.name)
def test_a_line_of_the_guides_haiku_list_is_haikus(kind: Any):
    assert model_of(kind.name) is Routed.HAIKU


@pytest.mark.parametrize("kind", REQUIRES_SONNET, ids=lambda kind: kind.name)
def test_a_line_of_the_guides_sonnet_list_is_sonnets_and_named_as_the_ground(kind: Any):
    advice = advise(make_task(title=kind.name))
    assert advice.model is Routed.SONNET
    assert any(kind.name in ground.says for ground in advice.grounds)
    assert not advice.checklist[4].ok


def test_the_matrix_has_the_guides_seven_rows():
    assert list(DECISION_MATRIX) == list(Factor)
    assert len(DECISION_MATRIX) == 7


def test_the_guides_good_and_bad_delegation():
    good = make_task(
        title="Add logout button to Navigation.tsx",
        files=[FileSpec(path="src/components/Navigation.tsx")],
        steps=["Add button JSX", "Add onClick handler", "Call logout from auth context"],
        tests=["Button renders", "onClick calls logout"],
    )
    bad = make_task(title="Add logout functionality", description="Figure out where to add it...")
    assert advise(good).model is Routed.HAIKU
    assert all(check.ok for check in advise(good).checklist)
    assert advise(bad).model is Routed.SONNET
    assert [check.ok for check in advise(bad).checklist] == [False, False, False, False, False, True, True]


@pytest.mark.parametrize(
    "title",
    [
        "Review page shows the total",
        'Rename the heading "Plan the migration" in report.py',
        "Let users filter and choose a colour",
        "Add the column decide_by to the table",
        "Add ArchitectureReview to the enum",
        "Write the `investigate` sub-command's help text",
        "Refactor total() into two functions",
    ],
)
def test_a_word_that_is_only_a_name_is_no_judgement(title: str):
    advice = advise(make_task(title=title, **EXACT))
    assert advice.model is Routed.HAIKU
    assert advice.checklist[4].ok, advice.checklist[4].reason


@pytest.mark.parametrize(
    "title",
    ["Investigate the slow report", "Please decide how totals are rounded", "Review the code of report.py"],
)
def test_a_judgement_in_the_title_outweighs_files_and_tests_and_only_exact_steps_outweigh_it(title: str):
    steps = ["Look at it", "Write it down"]
    assert model_of(title, **{**EXACT, "steps": steps}) is Routed.SONNET
    exact = [*EXACT["steps"], "Run make check", "Commit app/report.py"]
    advice = advise(make_task(title=title, **{**EXACT, "steps": exact}))
    assert not advice.checklist[4].ok
    assert advice.score < advise(make_task(title=title, **{**EXACT, "steps": steps})).score


def test_to_know_the_end_is_not_to_know_the_way():
    fields = {"files": [FileSpec(path="app/report.py")], "tests": ["make check"], "success_criteria": ["It is right"]}
    context = TaskContext(test_command="make check")
    symptom = {"title": "Totals are wrong on Mondays", "description": "Might be the time zone."}
    assert advise(make_task(**symptom, **fields, context=context)).model is Routed.SONNET
    steps = ["Use datetime.UTC in week()", "Test 2026-01-05"]
    assert advise(make_task(**symptom, **fields, context=context, steps=steps)).model is Routed.HAIKU


def test_a_type_that_says_it_is_thinking_is_a_ground():
    fields = {**EXACT, "steps": ["Look at it", "Write it down"]}
    assert not advise(make_task(title="Rounding", type="Research", **fields)).checklist[4].ok
    assert advise(make_task(title="Rounding", type="bugfix", **fields)).checklist[4].ok


def test_an_operation_and_a_command_have_no_model_to_choose():
    roles = find_roles()
    operation = make_task(title="Redesign everything", role="issue-orchestrator", operation="create_issue")
    assert advice_for(operation, roles["issue-orchestrator"]) is None
    assert advice_for(make_task(title="Redesign it"), RoleFile("mine", command=("/bin/true",))) is None
    in_words = make_task(title="Run the full test suite", role="test-runner", operation="Run the full test suite")
    advice = advice_for(in_words, roles["test-runner"])
    assert advice is not None
    assert advice.model is Routed.HAIKU


def settings_with(**values: Any) -> Settings:
    return default_settings().model_copy(update=values)


@pytest.mark.parametrize(
    ("task", "role", "settings", "speaks"),
    [
        ({}, EXECUTOR, {}, True),
        ({"model": "haiku"}, EXECUTOR, {}, False),
        ({"model": "sonnet"}, EXECUTOR, {}, False),
        ({}, RoleFile("planner", model="sonnet"), {}, False),
        ({}, EXECUTOR, {"default_model": "sonnet"}, False),
        ({}, RoleFile("planner", model="another tool's"), {}, True),
        (EXACT, EXECUTOR, {}, False),
    ],
)
def test_it_warns_in_one_short_line_unless_steps_are_exact_or_a_model_is_named(
    task: dict[str, Any], role: RoleFile, settings: dict[str, Any], speaks: bool
):
    asked = make_task(title="Choose a database for the " + "long " * 500, **task)
    advice = advice_for(asked, role)
    assert advice is not None
    said = warning_of(asked, advice, role, settings_with(**settings))
    assert (said is not None) is speaks
    if said:
        assert said.startswith(f"routing: {asked.ref} looks like Sonnet's: the title asks for a judgement: 'choose a")
        assert len(said) < 500
        assert "\n" not in said


def test_the_question_is_asked_before_the_first_attempt_and_once():
    record = advise(make_task(title="Choose a database")).record()
    task = make_task(title="Choose a database", advice=record)
    role = ResolvedRole(name="parallel-task-executor", model="claude-haiku-5-5")
    ask = settings_with(routing="escalate")
    queued = make_decision(TaskState.QUEUED, attempt=0)
    question = question_before_start(task, queued, role, ask)
    assert question is not None
    assert any("choose a database" in ground for ground in question.context)
    assert any("reassign" in option for option in question.options)
    for silent in (
        (task, queued, role, settings_with(routing="warn")),
        (task, queued, role, settings_with(routing="off")),
        (task, queued.model_copy(update={"escalation": 1}), role, ask),
        (task, queued.model_copy(update={"attempt": 1}), role, ask),
        (task, queued.model_copy(update={"model": "haiku"}), role, ask),
        (task.model_copy(update={"model": "haiku"}), queued, role, ask),
        (task.model_copy(update={"advice": None}), queued, role, ask),
        (task, queued, role.model_copy(update={"model": "claude-sonnet-5-5"}), ask),
        (task, queued, role.model_copy(update={"command": ["/bin/true"]}), ask),
        (make_task(title="T", advice=advise(make_task(**EXACT)).record()), queued, role, ask),
    ):
        assert question_before_start(*silent) is None


@pytest.mark.parametrize("piece", ["and ", "a.b", "-", "1.", '"a', "f(", "§ the ", "x_", "\n", "create the "])
def test_hostile_words_cost_next_to_nothing(piece: str):
    text = piece * (1_000_000 // len(piece))
    began = time.process_time()
    assert advise(make_task(title=text[:200], description=text, steps=[text] * 3)).grounds
    assert time.process_time() - began < 2.0
