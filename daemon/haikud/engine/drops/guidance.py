"""Guidance: answers to open questions, dropped as REF.json, REF.md or REF.txt.

An answer that names a question (escalation_id) must name the open one. One that names none must have been dropped
after that question was published: what lies in guidance/ before is set aside by whoever publishes it (questions.py), so
that no clock is asked. Whatever is no answer is set aside with the reason: an answer to an old question is never taken
for one to a new. The guidance is durable before the decision that carries its token.
"""

from __future__ import annotations

import json
from collections import deque
from typing import Any

from pydantic import ValidationError

from haikud.contracts.base import utc_now
from haikud.contracts.guidance import DroppedGuidance, Guidance, GuidanceAction
from haikud.contracts.states import TaskState
from haikud.costs.main_agent import KEY as MAIN_AGENT
from haikud.costs.main_agent import read_main_agent
from haikud.engine.admission.rejection import printable
from haikud.engine.answers.finishing import finish_task
from haikud.engine.answers.published import was_published
from haikud.engine.attempts.role_lookup import NoSuchRole, RoleLookup
from haikud.engine.board import OpenTask
from haikud.engine.drops.setting_aside import set_aside
from haikud.engine.drops.targets import NoSense, find_targets
from haikud.engine.engine import Engine
from haikud.engine.log_levels import Warn
from haikud.engine.words import name_escalation
from haikud.spool.drops import DropFolder, OddEntry, Taken
from haikud.spool.durable import write_durably
from haikud.spool.models import dump_as_is
from haikud.spool.publish import retract_escalation

SUFFIXES = (".json", ".md", ".txt")

MOST_DEPTH = 32
"""Levels of an answer's own `metadata`."""


class GuidanceDrops:
    """The guidance files that were taken and not finished yet."""

    def __init__(self, engine: Engine, drops: DropFolder, roles: RoleLookup) -> None:
        self._engine = engine
        self._drops = drops
        self._roles = roles
        self.pending: deque[Taken | OddEntry] = deque()

    async def work(self) -> None:
        """Apply what was taken; one that cannot be holds up no other plan's. Raises OSError: then call again."""
        trouble = self._engine.trouble
        held: set[str] = set()  # plans of which an answer must wait: what came after it must not go first
        for taken in list(self.pending):
            plan_id, doing = taken.name.partition(".")[0], f"taking guidance/{printable(taken.name)}"
            if plan_id in held or trouble.must_wait(doing):
                held.add(plan_id)
                continue
            held.add(plan_id)
            with trouble.apart(doing):
                await self._apply_one(taken)
                self.pending.remove(taken)
                held.discard(plan_id)

    async def _apply_one(self, taken: Taken | OddEntry) -> None:
        try:
            await self._apply(taken)
        except NoSense as error:
            await self._set_aside(taken, str(error))

    async def set_aside_early(self, entry: OpenTask) -> None:
        """Set aside what lies in guidance/ for a task whose question nobody can have seen yet. Raises OSError."""
        names = [name for name in (entry.ref, entry.plan.id) if name == entry.ref or len(entry.plan.tasks) == 1]
        files = [f"{name}{suffix}" for name in dict.fromkeys(names) for suffix in SUFFIXES]
        for taken in await self._engine.write(self._drops.take_now, files):
            for known in [one for one in self.pending if one.token == taken.token]:
                self.pending.remove(known)
            if not await self._is_applied(entry, taken):
                why = f"it was there before {entry.ref} asked its question: it answers none that is open"
                await self._set_aside(taken, why, entry.plan.id, entry.ref)

    async def _is_applied(self, entry: OpenTask, taken: Taken | OddEntry) -> bool:
        """Whether it was the answer to an earlier question, whose file a crash left; then it goes."""
        engine = self._engine
        decisions = await engine.aside(engine.store.decisions, entry.ref)
        if not any(decision.token == taken.token for decision in decisions):
            return False
        await engine.write(self._drops.finish, taken)
        return True

    async def _set_aside(
        self, taken: Taken | OddEntry, why: str, plan_id: str | None = None, ref: str | None = None
    ) -> None:
        engine = self._engine
        stored = await engine.write(set_aside, engine.layout, "guidance", taken, why)
        engine.say(Warn(f"set aside guidance/{printable(taken.name)}: {why}"))
        plan_id = plan_id or taken.name.partition(".")[0]
        if plan_id in engine.board.plans:
            engine.note(plan_id, "guidance", f"set aside: {why}", ref=ref, detail={"rejected": stored})

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
        check_names_question(dropped, open_id)
        if not entry.is_asked and not await engine.aside(was_published, engine.layout, entry):
            raise NoSense(f"the question {open_id} was not published yet when it was dropped")
        await self._check_reassignment(entry, dropped)
        await self._answer(entry, dropped, taken, open_id)
        await engine.write(self._drops.finish, taken)

    async def _check_reassignment(self, entry: OpenTask, dropped: DroppedGuidance) -> None:
        """A misspelt role or model must not cost the question: NoSense leaves it open."""
        if dropped.action is GuidanceAction.CANCEL or not (dropped.role or dropped.model):
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
        main_agent, warnings = None, list[str]()
        if MAIN_AGENT in dropped.metadata:
            main_agent, warnings = await engine.aside(read_main_agent, dropped.metadata, engine.settings, utc_now())
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
            metadata=dropped.metadata,
            main_agent=main_agent,
            warnings=warnings,
        )
        await engine.write(write_durably, engine.layout.task(entry.ref).guidance(number), dump_as_is(guidance))
        said = dropped.guidance.strip().partition("\n")[0][:200]
        match dropped.action:
            case GuidanceAction.CANCEL:
                reason = f"cancelled: {said}" if said else "cancelled"
                await finish_task(engine, entry, TaskState.CANCELLED, reason, token=taken.token)
            case _:
                await self._go_on(entry, dropped, taken.token, number)
        await engine.write(retract_escalation, engine.layout, entry.ref)
        detail = {"action": str(dropped.action), "escalation_id": open_id}
        engine.note(entry.plan.id, "guidance", said, ref=entry.ref, detail=detail)
        engine.say("; ".join([f"{entry.ref} was answered: {dropped.action}", *warnings]))

    async def _go_on(self, entry: OpenTask, dropped: DroppedGuidance, token: str, number: int) -> None:
        """Queue the task again: in its conversation or a fresh one, with the same role and model or others."""
        fresh, moved = dropped.action is GuidanceAction.RETRY, bool(dropped.role or dropped.model)
        changes: dict[str, Any] = {"fresh": fresh or entry.decision.fresh, "guidance": number, "token": token}
        changes |= {key: value for key, value in (("role", dropped.role), ("model", dropped.model)) if value}
        if fresh or moved:  # what others tried does not count against who tries now
            changes |= {"failures": 0, "orphans": 0}
        how = ["retry"] if fresh else [] if moved else ["answered"]
        if moved:
            how.append(f"reassigned to {' '.join(filter(None, (dropped.role, dropped.model)))}")
        said = dropped.guidance.strip().partition("\n")[0][:200]
        await self._engine.decide(entry, TaskState.QUEUED, f"{', '.join(how)}: {said}", **changes)


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
    moved = bool(dropped.role or dropped.model)
    if dropped.action is GuidanceAction.CONTINUE and not dropped.guidance.strip() and not moved:
        raise NoSense("it says nothing: `guidance` is empty and `action` is continue")
    if dropped.action is GuidanceAction.REASSIGN and not (dropped.role or dropped.model):
        raise NoSense("action reassign needs `role` or `model`")
    return dropped


def check_names_question(dropped: DroppedGuidance, open_id: str) -> None:
    """Raise NoSense where the answer names another question than the open one."""
    if dropped.escalation_id is not None and dropped.escalation_id != open_id:
        raise NoSense(f"it answers {dropped.escalation_id}, but the open question is {open_id}")


def _from_json(text: str) -> DroppedGuidance:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NoSense(f"it is no JSON: {error}; write REF.txt to answer in plain words") from error
    if isinstance(document, dict) and isinstance(document.get("payload"), dict):
        outer = document.get("metadata")  # of the envelope: kept too
        document = {**({"metadata": outer} if isinstance(outer, dict) else {}), **document["payload"]}
    if not isinstance(document, dict):
        raise NoSense('it is no JSON object such as {"guidance": "TEXT"}')
    strange = sorted(document.keys() - DroppedGuidance.model_fields.keys())
    if strange and not document.keys() & {"guidance", "action"}:
        raise NoSense(f"it has no `guidance`, but {', '.join(strange[:5])}: the words belong under `guidance`")
    if is_deeper(document.get("metadata"), MOST_DEPTH):
        raise NoSense(f"metadata: nested deeper than {MOST_DEPTH} levels")
    try:
        return DroppedGuidance.model_validate(document)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise NoSense(f"{'/'.join(map(str, fault['loc']))}: {fault['msg']}") from error


def is_deeper(value: object, levels: int) -> bool:
    """Whether a JSON value is nested deeper than so many levels."""
    if not isinstance(value, dict | list):
        return False
    if levels == 0:
        return True
    return any(is_deeper(one, levels - 1) for one in (value.values() if isinstance(value, dict) else value))
