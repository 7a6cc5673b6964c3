"""Plans, decisions and answers for the tests of the spool."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from haikud.contracts.decision import Decision
from haikud.contracts.envelope import MessageType, Response, Status
from haikud.contracts.ids import task_ref
from haikud.contracts.plan import Plan, RequestShape, Task
from haikud.contracts.states import TaskState
from haikud.spool.batch import Batch
from haikud.spool.layout import TaskPaths

NOW = datetime(2026, 11, 23, 10, 30, tzinfo=UTC)
REQUEST = b'{"task_plan": {"id": "plan-1"}}\n'


def make_plan(plan_id: str = "plan-1", task_ids: tuple[str, ...] = ("a", "b")) -> Plan:
    only = len(task_ids) == 1
    return Plan(
        id=plan_id,
        shape=RequestShape.TASK_PLAN,
        correlation_id=plan_id,
        admitted_at=NOW,
        token="0123456789abcdef",
        content_sha256="0" * 64,
        request_file="request.json",
        dropped_as="plan.json",
        tasks=[
            Task(id=t, ref=task_ref(plan_id, t, only_task=only), title=f"Task {t}", workspace="none") for t in task_ids
        ],
    )


def decide_on(ref: str, number: int, state: TaskState, **fields: object) -> Decision:
    return Decision.model_validate(
        {"number": number, "at": NOW, "ref": ref, "state": state, "reason": "test", **fields}
    )


def first_decisions(plan: Plan, state: TaskState = TaskState.QUEUED) -> dict[str, Decision]:
    return {task.id: decide_on(task.ref, 1, state) for task in plan.tasks}


def make_response(status: Status = Status.SUCCESS, correlation_id: str = "plan-1", **payload: object) -> Response:
    return Response(
        timestamp=NOW,
        sender="haikud",
        receiver="main-agent",
        message_type=MessageType.TASK_COMPLETION,
        correlation_id=correlation_id,
        payload=payload,
        status=status,
    )


@dataclass(frozen=True)
class OrderAtOnce:
    """What runs a task as soon as its plan is admitted, as small as it can be."""

    decision: Decision

    def put_into_build(self, batch: Batch, built: TaskPaths) -> None:
        """The attempt's folder, with an order in it."""
        attempt = built.attempt(1)
        batch.make_folder(attempt.folder)
        attempt.out.mkdir()
        batch.write_ahead(attempt.spec, b"do")
