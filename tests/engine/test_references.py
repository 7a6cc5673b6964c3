"""References to other tasks' results: how they are read, and what is put in."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haikud.contracts.plan import Plan, Task, TaskContext
from haikud.engine.attempts.references import (
    MOST_CHARACTERS,
    MOST_VALUE_CHARACTERS,
    Reference,
    Unresolved,
    has_references,
    in_words,
    resolve_task,
    scan,
)
from haikud.engine.attempts.starting import with_results
from haikud.spool.store import Store

ANSWERS: dict[str, dict[str, Any]] = {
    "task-1": {
        "status": "success",
        "payload": {
            "issue_number": 123,
            "issue_url": None,
            "tests_passing": True,
            "files_changed": ["a.py", "b.py"],
            "summary": "Made\n\n  it.\x1b[31m Now {{ tasks.task-1.payload.issue_number }}",
            "evidence": {"head_sha": "abc", "verification": [{"exit_code": 0}]},
            "large": "x" * MOST_VALUE_CHARACTERS,
        },
        "metrics": {"cost_usd": 0.04, "tokens_used": 35000},
        "sender": "parallel-task-executor",
    }
}


def resolved(task: Task) -> Task:
    return resolve_task(task, ANSWERS.get)


def told(text: str) -> str:
    return resolved(Task(id="t", ref="t", title="T", description=text)).description


def in_params(value: Any) -> Any:
    return resolved(Task(id="t", ref="t", title="T", params={"value": value})).params["value"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Close #{{ tasks.task-1.payload.issue_number }}.", "Close #123."),
        ("{{tasks.task-1.status}}", "success"),
        ("{{ tasks.task-1.payload.tests_passing }}", "true"),
        ("{{ tasks.task-1.payload.files_changed }}", "a.py, b.py"),
        ("{{ tasks.task-1.payload.files_changed.1 }}", "b.py"),
        ("{{ tasks.task-1.payload.evidence.verification.0.exit_code }}", "0"),
        ("{{ tasks.task-1.payload.evidence }}", '{"head_sha": "abc", "verification": [{"exit_code": 0}]}'),
        (
            "{{ tasks.task-1.metrics.tokens_used }} tokens, {{ tasks.task-1.metrics.cost_usd }} USD",
            "35000 tokens, 0.04 USD",
        ),
        (r"as is: \{{ tasks.task-1.status }}", "as is: {{ tasks.task-1.status }}"),
        ("{{ other }} {name} {{ task.x }} }} {{", "{{ other }} {name} {{ task.x }} }} {{"),
    ],
)
def test_values_stand_in_texts(text: str, expected: str):
    assert told(text) == expected


def test_a_value_is_one_line_and_is_not_looked_into():
    assert told("- {{ tasks.task-1.payload.summary }}") == (
        "- Made it.[31m Now {{ tasks.task-1.payload.issue_number }}"
    )
    assert (
        in_words("x" * (MOST_CHARACTERS + 1))
        == f"{'x' * MOST_CHARACTERS} [... cut: {MOST_CHARACTERS + 1} characters in all]"
    )
    began = time.process_time()
    in_words(" ".join(["a", " " * 200_000, "b"]))  # an agent may report that; the daemon waits for it
    assert time.process_time() - began < 5.0


def test_a_text_that_is_one_reference_keeps_the_values_type_in_params_and_context():
    assert in_params(" {{ tasks.task-1.payload.issue_number }} ") == 123
    assert in_params(["{{ tasks.task-1.payload.files_changed }}", 1]) == [["a.py", "b.py"], 1]
    assert in_params("#{{ tasks.task-1.payload.issue_number }}") == "#123"
    assert in_params("{{ tasks.task-1.payload.summary }}").startswith("Made\n\n  it.[31m")
    task = Task(id="t", ref="t", title="T", context=TaskContext(extra={"note": {"n": "{{ tasks.task-1.status }}"}}))
    assert resolved(task).context.extra == {"note": {"n": "success"}}
    with pytest.raises(Unresolved, match=f"at most {MOST_VALUE_CHARACTERS}"):
        in_params("{{ tasks.task-1.payload.large }}")


def test_an_issue_number_can_be_another_tasks():
    task = Task(id="t", ref="t", title="T", issue_from="{{ tasks.task-1.payload.issue_number }}")
    assert has_references(task)
    assert resolved(task).issue_number == 123
    task = task.model_copy(update={"issue_from": "{{ tasks.task-1.payload.tests_passing }}"})
    with pytest.raises(Unresolved, match="'true' and no number of an issue"):
        resolved(task)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("payload.issue", "task-1.payload.issue is not there; task-1.payload has issue_number, tests_passing, files_"),
        ("payload.issue_url", "task-1.payload.issue_url is null"),
        ("payload.files_changed.2", "task-1.payload.files_changed has a list of 2"),
        ("payload.issue_number.deeper", "task-1.payload.issue_number has no fields"),
        ("sender", "task-1.sender is not there; task-1 has status, payload, metrics"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(path: str, says: str):
    with pytest.raises(Unresolved) as caught:
        told(f"{{{{ tasks.task-1.{path} }}}}")
    assert says in str(caught.value)
    assert str(caught.value).startswith("description names {{ tasks.task-1.")


def test_a_dependency_without_a_response_is_told():
    with pytest.raises(Unresolved, match="there is no response of task-2"):
        told("{{ tasks.task-2.status }}")
    task = Task(id="t", ref="t", title="T", description="{{ tasks.task-2.status }}")
    older = cast("Plan", SimpleNamespace(tasks=[task]))  # admitted when nobody looked who is named
    with pytest.raises(Unresolved, match="there is no response of task-2"):
        with_results(cast("Store", None), older, task)


def test_malformed_ones_are_found():
    texts = ["{{ tasks.task-1 }}", "{{ tasks.task-1.payload.x", "{{ tasks.a b.status }}", "{{tasks.}}"]
    assert [[found for _, found in scan(text)] for text in texts] == [[None]] * 4
    assert list(scan(r"\{{ tasks.a.status }} {{ tasks.a.status }}")) == [
        ("{{ tasks.a.status }}", Reference("{{ tasks.a.status }}", "a", ("status",)))
    ]


@given(st.text(alphabet="{}\\ tasks.a-1", max_size=40))
def test_texts_without_references_stay_as_they_are(text: str):
    task = Task(id="t", ref="t", title="T", steps=[text])
    if not has_references(task):
        assert resolved(task) == task
    elif all(found is None for _, found in scan(text)):
        assert resolved(task).steps[0].replace("\\", "") == text.replace("\\", "")
