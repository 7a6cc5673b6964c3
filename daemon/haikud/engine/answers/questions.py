"""Open questions: published in escalations/, and published again while nobody answers.

Promises: before a question can be read, what lies in guidance/ for its task is set aside, and that is on record
(published.py). An unanswered one is raised every `escalations.raise_again_seconds`: its file is written anew, with the
time and a count; a restart neither forgets nor repeats that. Who takes the file away sees it again then, or at the next
start. Each step may be repeated after an OSError or a crash.
"""

from __future__ import annotations

from collections.abc import Hashable
from datetime import datetime, timedelta
from pathlib import Path

from haikud.contracts.attempt import Question
from haikud.contracts.base import utc_now
from haikud.contracts.completion import EscalationPayload
from haikud.contracts.envelope import Response
from haikud.contracts.states import TaskState
from haikud.engine.answers.history import read_history
from haikud.engine.answers.published import read_published, read_question, was_published
from haikud.engine.answers.responses import escalation_message
from haikud.engine.board import OpenTask
from haikud.engine.drops.guidance import GuidanceDrops
from haikud.engine.engine import Engine
from haikud.engine.log_levels import Warn
from haikud.engine.words import name_escalation
from haikud.spool.durable import write_durably
from haikud.spool.models import dump
from haikud.spool.publish import publish_escalation


class Questions:
    """What is done about the tasks that wait for an answer."""

    def __init__(self, engine: Engine, answers: GuidanceDrops) -> None:
        self._engine = engine
        self._answers = answers

    async def work(self) -> None:
        """Publish what is not published yet; raise again what is due."""
        engine = self._engine
        for entry in engine.board.in_state(TaskState.ESCALATED):
            doing = f"publishing the question of {entry.ref}"
            if entry.decision.escalation is None or engine.trouble.must_wait(doing):
                continue
            with engine.trouble.apart(doing):
                if not entry.is_asked:
                    await self._publish(entry)
                elif self._seconds_left(entry) == 0:
                    await self._raise_again(entry)

    def timers(self) -> dict[Hashable, float]:
        """The waits that are kept for questions, and how many seconds each still lasts."""
        waits: dict[Hashable, float] = {}
        for entry in self._engine.board.in_state(TaskState.ESCALATED):
            left = self._seconds_left(entry)
            if left is not None:
                waits[_key(entry)] = left
        return waits

    def _seconds_left(self, entry: OpenTask) -> float | None:
        """Until the question is raised again; None where it never is."""
        wait = self._engine.settings.escalations.raise_again_seconds
        if not wait or not entry.is_asked or entry.raised_at is None:
            return None
        until = entry.raised_at + timedelta(seconds=wait)
        return self._engine.timers.seconds_left(_key(entry), until, entry.raised_at)

    async def _publish(self, entry: OpenTask) -> None:
        engine = self._engine
        await engine.write(self._write_again_if_lost, entry)
        if not await engine.aside(was_published, engine.layout, entry):
            await self._answers.set_aside_early(entry)
            found = await engine.aside(read_question, engine.layout, entry)
            if found is not None:
                await engine.write(self._record, entry, *found, at=utc_now(), raised=0)
        await engine.write(publish_escalation, engine.layout, self._source(entry), entry.ref)
        found = await engine.aside(read_question, engine.layout, entry)
        if found is not None:
            record, payload = found
            entry.raised, entry.raised_at = payload.raised, record.timestamp
        entry.is_asked = True

    async def _raise_again(self, entry: OpenTask) -> None:
        engine = self._engine
        found = await engine.aside(read_question, engine.layout, entry)
        if found is None:
            entry.raised_at = None
            return
        record, payload = found
        now, raised = utc_now(), payload.raised + 1
        await engine.write(self._record, entry, record, payload, at=now, raised=raised)
        entry.is_asked = False  # until it lies there
        await self._publish(entry)
        since = payload.open_since or record.timestamp
        asked = f"since {since:%Y-%m-%d %H:%M} UTC, raised {raised} time{'' if raised == 1 else 's'}"
        engine.note(entry.plan.id, "raised", payload.reason, ref=entry.ref, detail={"raised": raised})
        engine.say(Warn(f"{entry.ref} still asks ({asked}): {payload.reason}"))

    def _record(
        self, entry: OpenTask, record: Response, payload: EscalationPayload, *, at: datetime, raised: int
    ) -> None:
        told = {"open_since": payload.open_since or at, "raised": raised}
        new = payload.model_copy(update=told).model_dump(mode="json")
        write_durably(self._source(entry), dump(record.model_copy(update={"timestamp": at, "payload": new})))

    def _write_again_if_lost(self, entry: OpenTask) -> None:
        """Somebody deleted the record: the task must not wait for ever for an answer to what nobody can read."""
        source, layout, number = self._source(entry), self._engine.layout, entry.decision.escalation or 0
        if source.exists():
            return
        message = read_published(layout, entry.ref)
        if message is None or message.payload.get("escalation_id") != name_escalation(entry.ref, number):
            lost = Question(reason=entry.decision.reason, blocker="Its record was deleted; this is all that is left")
            history = read_history(self._engine.store, entry.plan, entry.task, entry.decision)
            message = escalation_message(history, lost, number, utc_now())
        write_durably(source, dump(message))

    def _source(self, entry: OpenTask) -> Path:
        return self._engine.layout.task(entry.ref).escalation(entry.decision.escalation or 0)


def _key(entry: OpenTask) -> Hashable:
    return ("raised", entry.ref, entry.decision.number, entry.raised)
