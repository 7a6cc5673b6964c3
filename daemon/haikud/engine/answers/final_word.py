"""A task's final decision with the answers that follow from it. Runs on the writing thread, in one hop.

Two rounds of fsyncs: the decision and the answers in the plan's folder, their files and their names; and when these are
durable, the names in responses/. So no answer can be read before what it says is durable. A power cut in the first
leaves of each file nothing, all, or something that is no whole JSON, in any combination: without a whole decision the
task still runs, and is settled again; with one it is final, and publication.py does what is left: an answer that is
missing, broken or older than its decision is built again. The link's move to its final state, the mark that all is
published, is made durable with a later round (attempts/handover.py) or by a step of its own; nothing waits for it but
that the task leaves the board.

An answer is as of its decision: its time is the decision's. So one that a cut left without its decision is known by
being older than the decision that holds, and is built again.

Nothing is read that the board knows, or what this attempt has left: an earlier attempt's files, where there was one,
and the answers of a plan's other tasks.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from haikud.contracts.decision import Decision
from haikud.contracts.envelope import Response
from haikud.contracts.evidence import Evidence
from haikud.contracts.plan import Plan, Task
from haikud.engine.answers.history import read_costs, read_history
from haikud.engine.answers.publication import answers_of, sources_of
from haikud.engine.answers.responses import TaskHistory, costs_of, main_agent_costs, plan_response, task_response
from haikud.engine.attempts.results import AttemptRecord
from haikud.engine.board import Published
from haikud.spool.batch import Batch
from haikud.spool.models import dump
from haikud.spool.publish import is_copied_to, publish_responses, retract_escalation
from haikud.spool.store import Store


@dataclass(frozen=True)
class FinalWord:
    """All that the loop knows of a task that is to be final."""

    store: Store
    plan: Plan
    task: Task
    last: Decision  # that holds
    decision: Decision
    is_last: bool  # every other task of the plan is published, so that the plan's answer follows
    record: AttemptRecord | None = None  # of the attempt that this decision settles, where it was the first
    evidence: Evidence | None = None

    def put_into(self, batch: Batch) -> Published:
        """Put the decision into the batch, then the answers."""
        store, plan, task, decision = self.store, self.plan, self.task, self.decision
        store.keep_decision(self.last, plan)  # our word holds, whoever deleted it
        store.add_decision(batch, self.last, decision, early=True)
        history = self._history()
        response = task_response(history, decision.at)
        path, plan_path = store.layout.task(task.ref).response, store.layout.plan(plan.id).response
        if not self.is_last:
            batch.write(path, dump(response), early=True)
            return Published(response, None)
        if not plan.answers_as_plan:
            batch.write(path, dump(response), also=[plan_path], early=True)
            return Published(response, response)
        whole = self._plan_response(history, response)
        batch.write(path, dump(response), early=True)
        batch.write(plan_path, dump(whole), early=True)
        return Published(response, whole)

    def _history(self) -> TaskHistory:
        decision = self.decision
        if self.record is None or decision.escalation is not None:
            settling = decision if decision.outcome is not None else None
            return read_history(self.store, self.plan, self.task, decision, self.evidence, settling=settling)
        log = str(self.store.layout.log_link(self.task.ref))
        return TaskHistory(self.plan, self.task, decision, [self.record], log_file=log, evidence=self.evidence)

    def _plan_response(self, history: TaskHistory, response: Response) -> Response:
        plan, others = self.plan, [task for task in self.plan.tasks if task.id != self.task.id]
        answers = {task.id: answer for task, answer in answers_of(self.store, plan, others)}
        answers[self.task.id] = response
        if others:
            costs = read_costs(self.store, plan, {self.task.id: history})
        else:
            costs = [*main_agent_costs(plan, history.told), *costs_of(self.task, history.attempts)]
        return plan_response(plan, [(task, answers[task.id]) for task in plan.tasks], costs, self.decision.at)

    def put_answers_into(self, batch: Batch) -> None:
        """When the first round is over: have the answers published with the second. What is refused, `finish` does."""
        retract_escalation(self.store.layout, self.task.ref)
        if not is_copied_to(responses := self.store.layout.responses):
            for name, source in self._sources().items():
                batch.try_link(source, responses / name)

    def finish(self, batch: Batch) -> bool:
        """After the commit: publish what that could not; whether all is."""
        responses = self.store.layout.responses
        left = {
            name: source
            for name, source in self._sources().items()
            if responses / name in batch.refused or is_copied_to(responses)
        }
        try:
            publish_responses(self.store.layout, left)
        except OSError:
            return False
        return True

    def _sources(self) -> dict[str, Path]:
        return sources_of(self.store, self.plan, self.task, is_last=self.is_last)


def write_final_word(word: FinalWord) -> Published | None:
    """Make it durable, then publish the answers; None where that could not be done, which the next step tries again.

    Raises OSError where the decision could not be made durable: then nothing has happened.
    """
    batch = Batch()
    try:
        published = word.put_into(batch)
        batch.commit_early()
        with suppress(OSError):
            word.put_answers_into(batch)
            batch.commit()
            return published if word.finish(batch) else None
        return None
    finally:
        batch.discard()
