"""The queue as a whole: paused by a person until someone resumes it, or by the account's limits until a time.

Who speaks for the account: an attempt that ended at a limit, or the gateway, whose pause holds for all attempts. It
ends when the gateway says so, or else at its time, whatever has become of the gateway meanwhile.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from haikud.contracts.base import utc_now
from haikud.contracts.decision import QueueState
from haikud.contracts.gateway import Pause, PauseKind
from haikud.contracts.states import TaskState
from haikud.engine.engine import Engine
from haikud.spool.queue_state import write_queue_state

SHORT_SECONDS = 3.0
"""A pause of the gateway's that lasts no longer is waited out by the calls: to start an attempt takes about as long."""

LATE_SECONDS = 5.0
"""How late the gateway's word may come that it has looked for the API once more, beside the look itself."""


async def pause_queue(
    engine: Engine,
    reason: str,
    *,
    until: datetime | None = None,
    ref: str | None = None,
    token: str | None = None,
    kind: PauseKind | None = None,
) -> None:
    """Start nothing any more, durably. A person's pause (without an end) is never shortened by a limit's.

    An attempt that ends at a limit adds nothing to what the gateway said of that: it only goes on with the others.
    """
    now = engine.queue
    if until is not None and now.paused and now.until is None:
        return
    refs = [*now.quota_refs, ref] if ref is not None and ref not in now.quota_refs else list(now.quota_refs)
    if until is not None and kind is None and now.paused and now.kind is not None:
        await _set(engine, now.model_copy(update={"quota_refs": refs}))
        return
    if until is not None and now.until is not None:
        until = max(until, now.until)
    token = token or now.token
    await _set(engine, QueueState(paused=True, reason=reason, until=until, kind=kind, quota_refs=refs, token=token))
    if now.paused and now.kind == kind == "unreachable":
        return  # said already: with each look for the API the end moves
    engine.say(f"queue paused{f' until {until:%H:%M:%S} UTC' if until else ''}: {reason}")


async def resume_queue(engine: Engine, why: str, *, token: str | None = None) -> None:
    """Start again what may start, durably; what the account's limits had deferred is due at once."""
    was_paused = engine.queue.paused
    for ref in engine.queue.quota_refs:
        entry = engine.board.tasks.get(ref)
        if entry is not None and entry.state is TaskState.DEFERRED:
            await engine.decide(entry, TaskState.QUEUED, why)
    await _set(engine, QueueState(paused=False, token=token or engine.queue.token))
    if was_paused:
        engine.say(f"queue goes on: {why}")


async def end_quota_pause(engine: Engine) -> None:
    """End a pause whose time has come."""
    if engine.pause_seconds_left() == 0:
        await resume_queue(engine, "the account's limits should allow it again")


async def follow_account(engine: Engine, pause: Pause | None, *, is_linked: bool) -> None:
    """Pause and go on as the gateway says; `is_linked`: it is there, so that no pause means that there is none."""
    queue = engine.queue
    if pause is None:
        if is_linked and queue.paused and queue.kind is not None:
            await resume_queue(engine, "the API takes calls again")
        return
    until = pause.until
    if pause.kind == "unreachable":  # until then it is looked for, which takes its time
        until += timedelta(seconds=engine.settings.api.connect_seconds + LATE_SECONDS)
    if (pause.until - utc_now()).total_seconds() <= SHORT_SECONDS and queue.kind is None:
        return
    if queue.paused and (queue.until is None or (queue.until >= until and queue.kind in {None, pause.kind})):
        return
    await pause_queue(engine, pause.reason, until=until, kind=pause.kind)


async def _set(engine: Engine, state: QueueState) -> None:
    await engine.write(write_queue_state, engine.layout, state)
    engine.queue, engine.queue_since = state, utc_now()
