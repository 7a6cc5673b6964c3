"""Guidance: answers to open questions, dropped as REF.json, REF.md or REF.txt.

An answer must name the open question (escalation_id) or be newer than it; anything else is set aside with the reason,
so that an answer to an old question is never taken for one to a new. The guidance is durable before the decision that
carries its token.
"""

from __future__ import annotations

import json
from collections import deque
from datetime import UTC, datetime, timedelta

from pydantic import ValidationError

from haikud.contracts.base import utc_now
from haikud.contracts.guidance import DroppedGuidance, Guidance, GuidanceAction
from haikud.contracts.states import TaskState
from haikud.engine.admission.rejection import printable
from haikud.engine.board import OpenTask
from haikud.engine.engine import Engine
from haikud.engine.finishing import finish_task
from haikud.engine.responses import name_escalation
from haikud.engine.role_lookup import NoSuchRole, RoleLookup
from haikud.engine.setting_aside import set_aside
from haikud.engine.targets import NoSense, find_targets
from haikud.spool.drops import DropFolder, OddEntry, Taken
from haikud.spool.durable import write_durably
from haikud.spool.models import dump
from haikud.spool.publish import retract_escalation

SUFFIXES = (".json", ".md", ".txt")

CLOCK_GRAIN = timedelta(milliseconds=20)
"""File times come from a coarser clock than decisions' times: so much older still counts as newer."""


class GuidanceDrops:
    """The guidance files that were taken and not finished yet."""

    def __init__(self, engine: Engine, drops: DropFolder, roles: RoleLookup) -> None:
        self._engine = engine
        self._drops = drops
        self._roles = roles
        self.pending: deque[Taken | OddEntry] = deque()

    async def work(self) -> None:
        """Apply what was taken. Raises OSError: then call again."""
        while self.pending:
            taken = self.pending[0]
            try:
                await self._apply(taken)
            except NoSense as error:
                engine = self._engine
                await engine.write(set_aside, engine.layout, "guidance", taken, str(error))
                engine.say(f"set aside guidance/{printable(taken.name)}: {error}")
            self.pending.popleft()

    async def _apply(self, taken: Taken | OddEntry) -> None:
        engine = self._engine
        if isinstance(taken, OddEntry) or taken.data is None:
            raise NoSense(taken.why)
        ref = ref_of(taken.name)
        dropped = read_guidance(taken.name, taken.data)
        targets = await engine.aside(find_targets, engine.store, ref)
        target = targets[0] if len(targets) == 1 else None
        if target is None:
            raise NoSense(f"{ref} has several tasks; name the one that asks: {ref}.TASK")
        if taken.token in target.tokens:  # a crash came between the decision and what follows it
            if target.state is not TaskState.ESCALATED:
                await engine.write(retract_escalation, engine.layout, target.ref)
            await engine.write(self._drops.finish, taken)
            return
        entry = engine.board.tasks.get(target.ref)
        if entry is None or entry.state is not TaskState.ESCALATED or entry.decision.escalation is None:
            raise NoSense(f"{target.ref} is {target.state}; no question of it is open")
        open_id = name_escalation(entry.ref, entry.decision.escalation)
        check_names_question(dropped, taken.mtime, open_id, entry.decision.at)
        await self._check_reassignment(entry, dropped)
        await self._answer(entry, dropped, taken, open_id)
        await engine.write(self._drops.finish, taken)

    async def _check_reassignment(self, entry: OpenTask, dropped: DroppedGuidance) -> None:
        """A misspelt role or model must not cost the question: NoSense leaves it open."""
        if dropped.action is not GuidanceAction.REASSIGN:
            return
        named = {"role": dropped.role, "model": dropped.model}
        wanted = entry.decision.model_copy(update={key: value for key, value in named.items() if value})
        try:
            await self._engine.aside(self._roles.resolve, entry.task, wanted)
        except NoSuchRole as error:
            raise NoSense(str(error)) from error

    async def _answer(self, entry: OpenTask, dropped: DroppedGuidance, taken: Taken, open_id: str) -> None:
        engine = self._engine
        number = entry.decision.escalation or 1  # one answer per question
        guidance = Guidance(
            number=number,
            ref=entry.ref,
            escalation_id=open_id,
            at=utc_now(),
            token=taken.token,
            text=dropped.guidance,
            action=dropped.action,
            role=dropped.role,
            model=dropped.model,
        )
        await engine.write(write_durably, engine.layout.task(entry.ref).guidance(number), dump(guidance))
        said = dropped.guidance.strip().partition("\n")[0][:200]
        match dropped.action:
            case GuidanceAction.CANCEL:
                reason = f"cancelled: {said}" if said else "cancelled"
                await finish_task(engine, entry, TaskState.CANCELLED, reason, token=taken.token)
            case GuidanceAction.RETRY:
                await self._queue(entry, taken, f"retry: {said}", number, fresh=True)
            case GuidanceAction.REASSIGN:
                role, model = dropped.role or entry.decision.role, dropped.model or entry.decision.model
                said = f"reassigned to {' '.join(filter(None, (dropped.role, dropped.model)))}: {said}"
                await self._queue(entry, taken, said, number, role=role, model=model)
            case _:
                await self._queue(entry, taken, f"answered: {said}", number)
        await engine.write(retract_escalation, engine.layout, entry.ref)
        engine.note(entry.plan.id, "guidance", said, ref=entry.ref, detail={"action": str(dropped.action)})
        engine.say(f"{entry.ref} was answered: {dropped.action}")

    async def _queue(
        self,
        entry: OpenTask,
        taken: Taken,
        reason: str,
        number: int,
        *,
        fresh: bool = False,
        role: str | None = None,
        model: str | None = None,
    ) -> None:
        changes: dict[str, object] = {"fresh": fresh, "guidance": number, "token": taken.token}
        if role is not None:
            changes["role"] = role
        if model is not None:
            changes["model"] = model
        if fresh:
            changes |= {"failures": 0, "orphans": 0}
        await self._engine.decide(entry, TaskState.QUEUED, reason, **changes)


def ref_of(name: str) -> str:
    """The ref that a guidance file's name states. Raises NoSense."""
    for suffix in SUFFIXES:
        if name.endswith(suffix) and len(name) > len(suffix):
            return name.removesuffix(suffix)
    raise NoSense(f"guidance files are called REF{', REF'.join(SUFFIXES)}")


def read_guidance(name: str, data: bytes) -> DroppedGuidance:
    """What a guidance file says. Raises NoSense with what is wrong and how to mend it."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NoSense(f"it is no UTF-8: {error.reason} at byte {error.start}") from error
    dropped = _from_json(text) if name.endswith(".json") else DroppedGuidance(guidance=text.strip())
    if dropped.action is GuidanceAction.CONTINUE and not dropped.guidance.strip():
        raise NoSense("it says nothing: `guidance` is empty and `action` is continue")
    if dropped.action is GuidanceAction.REASSIGN and not (dropped.role or dropped.model):
        raise NoSense("action reassign needs `role` or `model`")
    return dropped


def check_names_question(dropped: DroppedGuidance, mtime: float, open_id: str, asked_at: datetime) -> None:
    """Raise NoSense unless the answer names the open question, or names none and is newer than it."""
    if dropped.escalation_id is not None:
        if dropped.escalation_id != open_id:
            raise NoSense(f"it answers {dropped.escalation_id}, but the open question is {open_id}")
        return
    written = datetime.fromtimestamp(mtime, UTC)
    if written + CLOCK_GRAIN < asked_at:
        raise NoSense(f"it was written before the open question {open_id} was asked, and names none")


def _from_json(text: str) -> DroppedGuidance:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NoSense(f"it is no JSON: {error}; write REF.txt to answer in plain words") from error
    if isinstance(document, dict) and isinstance(document.get("payload"), dict):
        document = document["payload"]
    if not isinstance(document, dict):
        raise NoSense('it is no JSON object such as {"guidance": "TEXT"}')
    try:
        return DroppedGuidance.model_validate(document)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise NoSense(f"{'/'.join(map(str, fault['loc']))}: {fault['msg']}") from error
