"""Answers come from evidence and from sums over all attempts; the guide's fields are where the guide has them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.support.made import MODEL, NOW, make_decision, make_evidence, make_plan, make_result, make_task, make_usage

from haikud.contracts.attempt import Question, Result
from haikud.contracts.completion import EscalationTold
from haikud.contracts.envelope import MessageType, Status
from haikud.contracts.plan import RequestShape, Task
from haikud.contracts.states import AttemptOutcome, TaskState
from haikud.engine.answers.responses import (
    TaskHistory,
    costs_of,
    escalation_message,
    plan_response,
    plan_status,
    relative_worktree,
    task_response,
)
from haikud.engine.attempts.results import AttemptRecord
from haikud.engine.words import dependency_failed


def record(result: Result | None, *, number: int = 1, seconds: float = 180.0) -> AttemptRecord:
    usage = result.usage if result else make_usage(0.01, 9000, 0.03)
    by_model = result.usage_by_model if result else {MODEL: usage}
    return AttemptRecord(number, result, result.outcome if result else AttemptOutcome.KILLED, usage, by_model, seconds)


def history(*attempts: AttemptRecord, task: Task | None = None, **decision: object) -> TaskHistory:
    task = task or make_task()
    made = make_decision(**{"attempt": len(attempts), **decision})  # type: ignore[arg-type]
    return TaskHistory(make_plan(task), task, made, attempts, log_file="/spool/logs/agent-p.t.log")


def test_a_success_has_the_guides_fields_from_evidence_and_not_from_words():
    answer = task_response(history(record(make_result(evidence=make_evidence()))), NOW)
    assert (answer.status, answer.message_type) == (Status.SUCCESS, MessageType.TASK_COMPLETION)
    assert (answer.sender, answer.receiver) == ("parallel-task-executor", "main-agent")
    assert answer.correlation_id == "req-1"
    payload = answer.payload
    assert payload["branch"] == "feature/p.t"
    assert payload["worktree"] == "worktrees/p.t"
    assert payload["commits"] == 3
    assert payload["tests_passing"] is True
    assert payload["files_changed"] == ["src/a.py"]
    assert payload["summary"] == "I did it, all tests pass"
    assert payload["error_report"] is None
    assert answer.metrics.model_dump() == {"duration_seconds": 180.0, "cost_usd": 0.04, "tokens_used": 35_000}


def test_metrics_and_costs_are_sums_over_all_attempts_also_those_without_a_result():
    answer = task_response(history(record(None, seconds=20.0), record(make_result(attempt=2), number=2)), NOW)
    assert answer.metrics.model_dump() == {"duration_seconds": 200.0, "cost_usd": 0.05, "tokens_used": 44_000}
    costs = answer.payload["agent_costs"]
    assert costs["total_cost"] == 0.05
    assert costs["comparison"]["if_all_sonnet"] == 0.18
    assert answer.payload["attempts"] == 2


def test_a_failure_without_a_report_gets_one_of_the_engines():
    ended = record(None)
    answer = task_response(
        history(ended, state=TaskState.FAILED, outcome=AttemptOutcome.TIMED_OUT, reason="over its time limit"), NOW
    )
    report = answer.payload["error_report"]
    assert answer.status is Status.FAILURE
    assert (report["type"], report["error"]["code"]) == ("timeout", "ATTEMPT_TIMEOUT")
    assert report["artifacts"]["log_file"].endswith("agent-p.t.log")
    assert report["next_steps"]["suggested_action"]


def test_a_task_that_never_started_says_which_dependency_failed():
    reason = dependency_failed("p.a", TaskState.FAILED)
    answer = task_response(history(state=TaskState.FAILED, reason=reason), NOW)
    report = answer.payload["error_report"]
    assert report["type"] == "dependency_error"
    assert "p.a" in report["error"]["message"]
    assert answer.metrics.cost_usd == 0


@pytest.mark.parametrize(("began", "branch", "worktree"), [([], None, None), ([1], "feature/p.t", "worktrees/p.t")])
def test_branch_and_worktree_are_named_only_once_there_are_any(
    began: list[int], branch: str | None, worktree: str | None
):
    answer = task_response(history(*(record(None) for _ in began), state=TaskState.CANCELLED, reason="cancelled"), NOW)
    report = answer.payload["error_report"]
    assert (answer.payload["branch"], answer.payload["worktree"]) == (branch, worktree)
    assert ("branch" in report["next_steps"]["suggested_action"]) is bool(began)
    assert bool(report["context"]["working_directory"]) is bool(began)


def test_a_dead_runners_commits_are_told_though_it_left_no_result():
    made = history(record(None), state=TaskState.FAILED, outcome=AttemptOutcome.KILLED)
    answer = task_response(TaskHistory(**{**vars(made), "evidence": make_evidence(tests_passing=None)}), NOW)
    assert answer.payload["commits"] == 3
    assert answer.payload["tests_passing"] is None


def test_an_operation_answers_with_its_own_fields_and_success():
    task = make_task(role="issue-orchestrator", operation="create_issue", workspace="none", branch=None, worktree=None)
    own = {"success": False, "issue_number": 123, "issue_url": "https://example.org/123", "labels": ["feature"]}
    answer = task_response(history(record(make_result(payload=own)), task=task), NOW)
    assert answer.payload["success"] is True  # ours, not the payload's
    assert answer.payload["issue_number"] == 123
    assert answer.payload["issue_url"] == "https://example.org/123"
    assert answer.payload["labels"] == ["feature"]
    assert answer.payload["worktree"] is None


def test_an_agents_own_fields_never_replace_a_measured_one():
    own = {"commits": 99, "tests_passing": True, "success": True, "note": "mine"}
    made = make_result(payload=own, evidence=make_evidence(commits=0, tests_passing=False))
    payload = task_response(history(record(made)), NOW).payload
    assert (payload["commits"], payload["tests_passing"], payload["note"]) == (0, False, "mine")
    assert "success" not in payload


def test_a_reassigned_task_is_answered_by_its_new_role():
    assert task_response(history(record(make_result()), role="test-runner"), NOW).sender == "test-runner"


def test_a_worktree_elsewhere_is_absolute():
    assert relative_worktree(make_task(worktree="/elsewhere/p.t")) == "/elsewhere/p.t"
    assert relative_worktree(make_task(worktree=None)) is None
    made = f"{make_task().repository.path}/worktrees/task-123"  # type: ignore[union-attr]
    operation = make_task(worktree=None, operation="create_worktree", workspace="none")
    answer = task_response(history(record(make_result(evidence=make_evidence(worktree=made))), task=operation), NOW)
    assert answer.payload["worktree"] == "worktrees/task-123"


@pytest.mark.parametrize(
    ("statuses", "whole"),
    [
        ("success success", Status.SUCCESS),
        ("failure failure", Status.FAILURE),
        ("cancelled cancelled", Status.CANCELLED),
        ("success failure", Status.PARTIAL),
        ("cancelled success", Status.PARTIAL),
        ("failure cancelled", Status.FAILURE),
    ],
)
def test_a_plans_status(statuses: str, whole: Status):
    assert plan_status([Status(one) for one in statuses.split()]) is whole


def test_a_plan_is_answered_task_by_task_in_its_order():
    tasks = [make_task("a"), make_task("b")]
    plan = make_plan(*tasks, warnings=["dirty checkout"])
    answers = []
    for task in tasks:
        made = TaskHistory(plan, task, make_decision(ref=task.ref), [record(make_result())], log_file="log")
        answers.append((task, task_response(made, NOW)))
    costs = [cost for task in tasks for cost in costs_of(task, [record(make_result())])]
    whole = plan_response(plan, answers, costs, NOW + timedelta(seconds=200))
    assert whole.message_type is MessageType.PLAN_COMPLETION
    assert [one["task_id"] for one in whole.payload["tasks"]] == ["a", "b"]
    assert whole.payload["warnings"] == ["dirty checkout"]
    assert set(whole.payload["agent_costs"]) >= {"haiku_agent_1", "haiku_agent_2", "total_cost", "comparison"}
    assert whole.metrics.cost_usd == 0.08
    assert whole.metrics.duration_seconds == 200.0
    assert whole.payload["time"]["time_saved_seconds"] == 160.0


def test_a_task_that_went_on_with_another_model_tells_both_halves_in_one_record():
    sonnet = make_usage(0.3, 20_000, 0.3)
    first = record(make_result(AttemptOutcome.ESCALATED))
    second = record(make_result(attempt=2, usage=sonnet, usage_by_model={"claude-sonnet-5-5": sonnet}), number=2)
    told = [
        EscalationTold(escalation_id="p.t.e1", asked_at=NOW, reason="which?", cost_so_far=0.04, guidance="Think."),
        EscalationTold(escalation_id="p.t.e2", asked_at=NOW, reason="sure?", cost_so_far=0.14),
    ]
    made = replace(history(first, second, attempt=2), told=told)
    answer = task_response(made, NOW)
    assert answer.metrics.cost_usd == 0.34
    costs = answer.payload["agent_costs"]
    assert (costs["haiku_agent_1"]["cost_usd"], costs["sonnet_agent_1"]["cost_usd"]) == (0.04, 0.3)
    assert [(one["cost_so_far"], one["cost_since"]) for one in answer.payload["escalations"]] == [
        (0.04, 0.1),
        (0.14, 0.2),
    ]


def test_a_question_says_how_to_answer_it():
    question = Question(reason="which header?", options=["a", "b"], recommendation="a")
    made = history(record(make_result(AttemptOutcome.ESCALATED)), state=TaskState.RUNNING)
    message = escalation_message(made, question, 2, NOW)
    assert (message.status, message.message_type) == (Status.BLOCKED, MessageType.ESCALATION)
    payload = message.payload
    assert payload["escalation_id"] == "p.t.e2"
    assert payload["options"] == ["a", "b"]
    assert payload["cost_so_far"] == 0.04
    assert "guidance/p.t.txt" in payload["answer_with"]


def test_one_task_shapes_are_answered_as_tasks():
    assert not make_plan(shape=RequestShape.TASK_REQUEST).answers_as_plan
