"""The order for one attempt on disk: its folder and spec.json, durable with the decision to run it, and the rest.

It goes into the batch of that decision, so that the whole takes two rounds of fsyncs. In a new folder, of which nobody
knows before the decision names the attempt, its files get their names at once; where a try before this one has left the
folder, they are replaced. A plan that is being built is such a folder too.

Reads only what nobody in memory knows: earlier decisions and attempts, where there were any, and the answers of
dependencies. Runs on the writing thread.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from haikud.contracts.attempt import ResolvedRole
from haikud.contracts.decision import Decision
from haikud.contracts.envelope import Response
from haikud.contracts.gateway import AttemptToken, GatewayPlace
from haikud.contracts.guidance import GivenGuidance
from haikud.contracts.plan import Plan, Task
from haikud.contracts.settings import Settings
from haikud.engine.attempts.results import asked_about, read_attempts, used_so_far
from haikud.engine.attempts.specs import Order, build_assignment, build_spec
from haikud.engine.gateway.tokens import write_token
from haikud.spool.batch import Batch
from haikud.spool.durable import make_folder, remove_if_there, write_quickly
from haikud.spool.layout import AttemptPaths, TaskPaths
from haikud.spool.models import dump_as_is, read_model
from haikud.spool.store import Store


@dataclass(frozen=True)
class Preparation:
    """All that the loop knows of the attempt that is to start."""

    store: Store
    plan: Plan
    last: Decision  # that holds
    task: Task  # with the results that it names
    role: ResolvedRole
    given: list[GivenGuidance]
    settings: Settings
    base_url: str | None
    spool_id: str
    usd: float
    now: datetime
    gateway: GatewayPlace | None
    token: AttemptToken | None
    sandbox: str

    def put_into(self, batch: Batch, built: TaskPaths | None = None) -> None:
        """Write what the attempt needs; the batch's commit makes it durable.

        `built`: where the task's folder lies as yet, of a plan that is being admitted.
        """
        task_paths = self.store.layout.task(self.last.ref)
        decisions = self._decisions()
        attempts = read_attempts(task_paths, decisions)
        order = Order(
            plan=self.plan,
            task=self.task,
            decisions=decisions,
            role=self.role,
            settings=self.settings,
            base_url=self.base_url,
            paths=task_paths,
            spool_id=self.spool_id,
            budget_usd=self.usd,
            spent=used_so_far(attempts),
            accepted_files=asked_about(attempts),
            guidance=self.given,
            now=self.now,
            gateway=self.gateway,
            sandbox=self.sandbox,
        )
        paths = (built or task_paths).attempt(order.attempt)
        spec, assignment = dump_as_is(build_spec(order)), dump_as_is(build_assignment(self.task))
        # What is not fsynced is derived, and read by this attempt alone, which no power cut leaves alive.
        if _made(batch, paths):
            batch.write_ahead(paths.spec, spec)
            batch.write_ahead(paths.assignment, assignment, sync=False)
        else:
            batch.write(paths.spec, spec)
            write_quickly(paths.assignment, assignment)
        if self.task.dependencies:
            write_quickly(paths.dependencies, dependency_answers(self.store, self.plan, self.task))
        if self.token is not None:
            write_token(self.store.layout.gateway, self.token)

    def _decisions(self) -> Sequence[Decision]:
        """Those so far. None that may stand before the first two of a task without attempts says anything here."""
        if self.last.attempt == 0 and self.last.number <= 2:
            return [self.last]
        decisions = self.store.decisions(self.last.ref)
        if not decisions or decisions[-1].number < self.last.number:
            self.store.put_back(self.last, self.plan)  # somebody broke it
            decisions = self.store.decisions(self.last.ref)
        return decisions


def _made(batch: Batch, paths: AttemptPaths) -> bool:
    """Whether the attempt's folders are new; left by a try before this one they are as good as new afterwards."""
    try:
        batch.make_folder(paths.folder)
    except FileExistsError:
        make_folder(paths.out)
        remove_if_there(paths.orders)
        return False
    paths.out.mkdir(0o700)  # its name lasts with the folder's others; what is to come into it need not
    return True


def dependency_answers(store: Store, plan: Plan, task: Task) -> bytes:
    """HAIKUD_DEPENDENCIES_FILE: task id -> the response of that dependency."""
    answers: dict[str, object] = {}
    for name in task.dependencies:
        found = read_model(store.layout.task(plan.task(name).ref).response, Response)
        answers[name] = found.model_dump(mode="json") if found else None
    return json.dumps(answers, indent=2).encode() + b"\n"
