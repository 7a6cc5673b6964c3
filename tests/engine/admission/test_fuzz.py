"""Whatever is dropped becomes a plan that can be stored, or is rejected with an answer that can be."""

from __future__ import annotations

import json
from typing import Any

import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.engine.admission.conftest import NOW, Desk

from haikud.engine.admission.prepare import first_decisions
from haikud.engine.admission.rejection import Rejected, rejected_response

KEYS = st.sampled_from(
    [
        *("task_plan", "tasks", "task", "task_id", "id", "title", "files", "steps", "implementation_steps", "tests"),
        *("success_criteria", "dependencies", "context", "payload", "agent", "role", "params", "template", "variables"),
        *("metadata", "correlation_id", "sender", "receiver", "message_type", "version", "timestamp", "priority"),
        *("repository", "main_branch", "model", "issue_number", "max_cost_usd", "operation", "path", "type"),
        *("test_command", "feature_name", "description"),
    ]
)
WORDS = st.sampled_from(
    [
        *("a", "b", "task-1", "T", "test-runner", "issue-orchestrator", "create_issue", "run_tests", "haiku", "all"),
        *("feature-implementation", "task_request", "high", "../x", "/usr", "a.py", "", "\x00", "\ud800", "\x1b[1m"),
    ]
)
VALUES = st.recursive(
    WORDS | st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=5), inner, max_size=5),
    max_leaves=25,
)
QUICK = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def admit_or_answer(desk: Desk, data: bytes, name: str) -> None:
    try:
        plan = desk.prepare(data, name)
    except Rejected as caught:
        rejected = caught
    else:
        decisions = first_decisions(plan, NOW)
        assert list(decisions) == [task.id for task in plan.tasks]
        assert len({task.ref for task in plan.tasks}) == len(plan.tasks)
        return
    assert rejected_response(rejected, now=NOW).model_dump_json()
    assert all(fault.fix and fault.found for fault in rejected.faults)


def cheaply(desk: Desk) -> None:
    """A default that git is not asked about, so that many examples are quick."""
    desk.set(default_repository="relative")


@QUICK
@given(document=st.dictionaries(KEYS, VALUES, min_size=1, max_size=8))
def test_any_json(desk: Desk, document: dict[str, Any]):
    cheaply(desk)
    admit_or_answer(desk, json.dumps(document).encode(), "fuzz.json")


@QUICK
@given(tasks=st.lists(st.dictionaries(KEYS, VALUES, max_size=5), max_size=4), role=WORDS)
def test_any_plan(desk: Desk, tasks: list[dict[str, Any]], role: str):
    cheaply(desk)
    titled = [{"title": "T", "agent": "issue-orchestrator", "task": "create_issue", **task} for task in tasks]
    admit_or_answer(desk, json.dumps({"task_plan": {"tasks": titled, "role": role}}).encode(), "fuzz.json")


@QUICK
@given(document=st.dictionaries(KEYS, VALUES, min_size=1, max_size=8))
@example(document={"template": "\r"})
def test_any_yaml(desk: Desk, document: dict[str, Any]):
    cheaply(desk)
    text = yaml.safe_dump(document, allow_unicode=False)
    admit_or_answer(desk, text.encode("utf-8", "surrogatepass"), "fuzz.yaml")


@QUICK
@given(data=st.binary(max_size=200), name=st.sampled_from(["a.json", "a.yaml", "a.yml", "a.txt", "\udce9.json"]))
def test_any_bytes(desk: Desk, data: bytes, name: str):
    admit_or_answer(desk, data, name)


@QUICK
@given(text=st.text(alphabet="{}[]:,-&*!|>'\"%@`#? \n\tab1.~", max_size=80), suffix=st.sampled_from(["json", "yaml"]))
def test_any_punctuation(desk: Desk, text: str, suffix: str):
    cheaply(desk)
    admit_or_answer(desk, text.encode(), f"a.{suffix}")
