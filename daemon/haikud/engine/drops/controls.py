"""Controls: empty files in control/ whose name is the command: ID.cancel, ID.retry, ID.pause, ID.resume, all.*.

Each decision that a control causes carries the file's token, so that nothing is applied twice; the taken file stays
until its last decision is durable, so that a command that was taken is carried out even if the daemon dies meanwhile.
What means nothing is set aside with the reason.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from haikud.contracts.attempt import EndOrder
from haikud.contracts.states import TaskState, is_final
from haikud.engine.admission.rejection import printable
from haikud.engine.answers.finishing import finish_task
from haikud.engine.answers.publication import take_back
from haikud.engine.attempts.ends import order_end, order_pause
from haikud.engine.drops.setting_aside import set_aside
from haikud.engine.drops.targets import NoSense, Target, UnknownPlan, bring_to_board, find_targets
from haikud.engine.engine import Engine
from haikud.engine.log_levels import Warn
from haikud.engine.queue import pause_queue, resume_queue
from haikud.engine.words import failed_by_dependency
from haikud.spool.drops import DropFolder, OddEntry, Taken

VERBS = ("cancel", "retry", "pause", "resume")
ALL_VERBS = ("pause", "resume", "stop", "stop-now")
STOPS = ("all.stop", "all.stop-now")

PAUSABLE = (TaskState.WAITING, TaskState.QUEUED, TaskState.DEFERRED)


@dataclass
class _Ordered:
    """A control that running attempts have still to carry out."""

    taken: Taken | OddEntry
    refs: set[str] = field(default_factory=set)


class Controls:
    """The control files that were taken and not finished yet."""

    def __init__(self, engine: Engine, drops: DropFolder, requests_wait: Callable[[], bool]) -> None:
        """`requests_wait` says whether requests lie in hand that may become the plan that a control names."""
        self._engine = engine
        self._requests_wait = requests_wait
        self._drops = drops
        self._ordered: dict[str, _Ordered] = {}
        self.pending: deque[Taken | OddEntry] = deque()

    async def work(self) -> None:
        """Apply what was taken, then finish what has been carried out. Raises OSError: then call again."""
        held: set[str] = set()  # plans of which a control must wait: what came after it must not go first
        for _ in range(len(self.pending)):
            taken, done = self.pending[0], False
            plan_id = taken.name.partition(".")[0]
            doing = f"carrying out control/{taken.name}"
            if plan_id not in held and not self._engine.trouble.must_wait(doing):
                with self._engine.trouble.apart(doing):
                    done = await self._apply_one(taken)
            if done:
                self.pending.popleft()
            else:
                held.add(plan_id)
                self.pending.rotate(-1)
        await self.finish_carried_out()

    async def finish_carried_out(self) -> None:
        """Unlink the controls that no running attempt has still to carry out."""
        for token, ordered in list(self._ordered.items()):
            if not any(self._is_ordered(ref, token) for ref in ordered.refs):
                await self._engine.write(self._drops.finish, ordered.taken)
                del self._ordered[token]

    def in_hand(self) -> set[str]:
        """The tokens of the controls that running attempts have still to carry out."""
        return set(self._ordered)

    def _is_ordered(self, ref: str, token: str) -> bool:
        entry = self._engine.board.tasks.get(ref)
        if entry is None or entry.state is not TaskState.RUNNING:
            return False
        return entry.pause_token == token or (entry.ordered_end is not None and entry.ordered_end.token == token)

    async def _apply_one(self, taken: Taken | OddEntry) -> bool:
        """Apply one; False where its plan may still come: the request lies in hand."""
        engine = self._engine
        try:
            name, verb = read_command(taken)
            if name == "all":
                refs: set[str] = set()
                await self._apply_to_all(verb, taken.token)
            else:
                refs = await self._apply(verb, name, taken.token)
        except NoSense as error:
            if isinstance(error, UnknownPlan) and self._requests_wait():
                return False
            await engine.write(set_aside, engine.layout, "control", taken, str(error))
            engine.say(Warn(f"set aside control/{printable(taken.name)}: {error}"))
            return True
        if refs:
            self._ordered[taken.token] = _Ordered(taken, refs)
        else:
            # First the pause that this one may have undone: found again without it, that would be carried out anew.
            await self.finish_carried_out()
            await engine.write(self._drops.finish, taken)
        return True

    async def _apply_to_all(self, verb: str, token: str) -> None:
        engine = self._engine
        match verb:
            case "pause":
                await pause_queue(engine, "paused by all.pause", token=token)
            case "resume":
                await resume_queue(engine, "all.resume", token=token)
                await engine.gateway.resume()
            case "stop-now":
                engine.say("stopping now: running attempts are ended, their tasks queued again")
                engine.stopping.now = True
            case _:
                engine.say("draining: no new attempts; ends when the last has")
                engine.stopping.draining = True

    async def _apply(self, verb: str, name: str, token: str) -> set[str]:
        """Carry a control out; the refs of running tasks that have still to do it. Raises NoSense."""
        targets = await self._engine.aside(find_targets, self._engine.store, name)
        done = any(token in target.tokens for target in targets)
        single = len(targets) == 1
        ordered: set[str] = set()
        reasons: list[str] = []
        for target in self._in_order(verb, targets):
            if token in target.tokens:
                continue
            try:
                if await self._apply_to(verb, target, token, alone=single):
                    ordered.add(target.ref)
                done = True
                self._engine.note(target.plan.id, "control", verb, ref=target.ref)
                self._engine.say(f"{verb} {target.ref}")
            except NoSense as error:
                reasons.append(str(error))
        if not done:
            raise NoSense("; ".join(reasons[:5]))
        return ordered

    @staticmethod
    def _in_order(verb: str, targets: list[Target]) -> list[Target]:
        """Tasks that others depend on go last when they end, so that the others end for their own reason."""
        return list(reversed(targets)) if verb == "cancel" else targets

    async def _apply_to(self, verb: str, target: Target, token: str, *, alone: bool) -> bool:
        match verb:
            case "cancel":
                return await _cancel(self._engine, target, token)
            case "retry":
                return await _retry(self._engine, target, token, alone=alone)
            case "pause":
                return await _pause(self._engine, target, token)
            case _:
                return await _resume(self._engine, target, token)


def read_command(taken: Taken | OddEntry) -> tuple[str, str]:
    """The id and the verb in a control file's name. Raises NoSense."""
    if isinstance(taken, OddEntry) or taken.fault is not None:
        raise NoSense(taken.why)
    name, _, verb = taken.name.rpartition(".")
    if not name or verb not in (ALL_VERBS if name == "all" else VERBS):
        raise NoSense(f"control files are called ID.{{{'|'.join(VERBS)}}} or all.{{{'|'.join(ALL_VERBS)}}}")
    return name, verb


async def _cancel(engine: Engine, target: Target, token: str) -> bool:
    entry = engine.board.tasks.get(target.ref)
    if entry is None or is_final(entry.state):
        raise NoSense(f"{target.ref} is {target.state} already")
    if entry.state is TaskState.RUNNING:
        await order_end(engine, entry, EndOrder.CANCEL, "cancelled", token=token)
        return entry.ordered_end is not None and entry.ordered_end.token == token
    await finish_task(engine, entry, TaskState.CANCELLED, "cancelled", token=token)
    return False


async def _retry(engine: Engine, target: Target, token: str, *, alone: bool) -> bool:
    if target.state is TaskState.DEFERRED:
        entry = engine.board.tasks[target.ref]
        await engine.decide(entry, TaskState.QUEUED, "not waited for any longer", token=token)
        return False
    if target.state not in {TaskState.FAILED, TaskState.CANCELLED}:
        hint = "; answer its question instead" if target.state is TaskState.ESCALATED else ""
        raise NoSense(f"{target.ref} is {target.state}; only what failed or was cancelled is retried{hint}")
    if alone and failed_by_dependency(target.decision):
        states = {one.id: one for one in target.plan.tasks}
        broken = [name for name in target.task.dependencies if name in states]
        last = [(name, await engine.aside(engine.store.last_decision, states[name].ref)) for name in broken]
        still = [name for name, decision in last if decision and is_final(decision.state) and _is_bad(decision.state)]
        if still:
            raise NoSense(f"{target.ref} depends on {', '.join(still)}; retry the whole plan {target.plan.id}")
    await engine.write(take_back, engine.store, target.plan, target.task)
    entry = await bring_to_board(engine, target)
    states_now = engine.board.plans[target.plan.id].states
    waits = any(states_now[name] is not TaskState.SUCCEEDED for name in target.task.dependencies)
    await engine.decide(
        entry,
        TaskState.WAITING if waits else TaskState.QUEUED,
        "retried",
        failures=0,
        orphans=0,
        fresh=False,  # it goes on from its transcript, and is told why it is asked for once more
        token=token,
    )
    engine.board.touched.add(target.plan.id)
    return False


def _is_bad(state: TaskState) -> bool:
    return state in {TaskState.FAILED, TaskState.CANCELLED}


async def _pause(engine: Engine, target: Target, token: str) -> bool:
    entry = engine.board.tasks.get(target.ref)
    if entry is not None and entry.state is TaskState.RUNNING and entry.ordered_end is None:
        await order_pause(engine, entry, token)
        return True
    if entry is None or entry.state not in PAUSABLE:
        raise NoSense(f"{target.ref} is {target.state}; there is nothing to pause")
    last = entry.decision
    await engine.decide(
        entry, TaskState.PAUSED, f"paused; was {last.state}", token=token, resume_to=last.state, retry_at=last.retry_at
    )
    return False


async def _resume(engine: Engine, target: Target, token: str) -> bool:
    entry = engine.board.tasks.get(target.ref)
    if entry is not None and entry.state is TaskState.RUNNING and entry.pause_token is not None:
        await order_pause(engine, entry, None)
        return False
    if entry is None or entry.state is not TaskState.PAUSED:
        raise NoSense(f"{target.ref} is {target.state}, not paused")
    last = entry.decision
    state = last.resume_to or TaskState.QUEUED
    retry_at = last.retry_at if state is TaskState.DEFERRED else None
    await engine.decide(entry, state, "resumed", token=token, retry_at=retry_at)
    engine.board.touched.add(target.plan.id)
    return False
