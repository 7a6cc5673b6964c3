"""Plans, decisions and results made by hand, for tests of pure functions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from haikud.contracts.attempt import Result
from haikud.contracts.decision import Decision
from haikud.contracts.evidence import Evidence
from haikud.contracts.guidance import GivenGuidance, GuidanceAction
from haikud.contracts.plan import Plan, RepositoryAtAdmission, RequestShape, Task
from haikud.contracts.states import AttemptOutcome, TaskState
from haikud.contracts.usage import UsageTotal

NOW = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
MODEL = "claude-haiku-4-5"


def make_task(name: str = "t", *, plan: str = "p", **fields: Any) -> Task:
    repository = RepositoryAtAdmission(path="/repo", git_common_dir="/repo/.git", main_branch="main", base_sha="0" * 40)
    ref = fields.pop("ref", f"{plan}.{name}")
    return Task(
        **{
            "id": name,
            "ref": ref,
            "title": f"Do {name}",
            "repository": repository,
            "branch": f"feature/{ref}",
            "worktree": f"/repo/worktrees/{ref}",
            **fields,
        }
    )


def make_plan(*tasks: Task, shape: RequestShape = RequestShape.TASK_PLAN, **fields: Any) -> Plan:
    return Plan(
        **{
            "id": "p",
            "shape": shape,
            "correlation_id": "req-1",
            "admitted_at": NOW,
            "token": "0" * 16,
            "content_sha256": "0" * 64,
            "request_file": "request.json",
            "dropped_as": "p.json",
            "tasks": list(tasks) or [make_task()],
            **fields,
        }
    )


def make_decision(
    state: TaskState = TaskState.SUCCEEDED, *, number: int = 3, ref: str = "p.t", **fields: Any
) -> Decision:
    return Decision(
        **{"number": number, "at": NOW, "ref": ref, "state": state, "reason": "because", "attempt": 1, **fields}
    )


def make_usage(cost: float = 0.04, tokens: int = 35_000, sonnet: float = 0.15) -> UsageTotal:
    return UsageTotal(
        requests=2,
        input_tokens=tokens - 5000,
        output_tokens=5000,
        tokens_used=tokens,
        cost_usd=cost,
        sonnet_cost_usd=sonnet,
    )


def make_result(outcome: AttemptOutcome = AttemptOutcome.COMPLETED, *, attempt: int = 1, **fields: Any) -> Result:
    usage = fields.pop("usage", make_usage())
    return Result(
        **{
            "ref": "p.t",
            "attempt": attempt,
            "outcome": outcome,
            "summary": "I did it, all tests pass",
            "usage": usage,
            "usage_by_model": {MODEL: usage},
            "began_at": NOW,
            "ended_at": NOW + timedelta(seconds=180),
            **fields,
        }
    )


def make_evidence(**fields: Any) -> Evidence:
    return Evidence(
        **{
            "base_sha": "0" * 40,
            "head_sha": "1" * 40,
            "branch": "feature/p.t",
            "worktree": "/repo/worktrees/p.t",
            "commits": 3,
            "files_changed": ["src/a.py"],
            "tests_passing": True,
            **fields,
        }
    )


def make_given(text: str, number: int = 1, *, question: str = "", **fields: Any) -> GivenGuidance:
    return GivenGuidance(
        **{
            "number": number,
            "escalation_id": f"t.e{number}",
            "question": question,
            "text": text,
            "action": GuidanceAction.CONTINUE,
            **fields,
        }
    )
