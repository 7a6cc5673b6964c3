"""The queue as a whole: paused by a person until someone resumes it, or by the account's limits until a time."""

from __future__ import annotations

from datetime import datetime

from haikud.contracts.base import utc_now
from haikud.contracts.decision import QueueState
from haikud.contracts.states import TaskState
from haikud.engine.engine import Engine
from haikud.spool.queue_state import write_queue_state


async def pause_queue(
    engine: Engine, reason: str, *, until: datetime | None = None, ref: str | None = None, token: str | None = None
) -> None:
    """Start nothing any more, durably. A person's pause (without an end) is never shortened by a limit's."""
    now = engine.queue
    if until is not None and now.paused and now.until is None:
        return
    refs = [*now.quota_refs, ref] if ref is not None and ref not in now.quota_refs else list(now.quota_refs)
    if until is not None and now.until is not None:
        until = max(until, now.until)
    await _set(engine, QueueState(paused=True, reason=reason, until=until, quota_refs=refs, token=token or now.token))
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


async def _set(engine: Engine, state: QueueState) -> None:
    await engine.write(write_queue_state, engine.layout, state)
    engine.queue, engine.queue_since = state, utc_now()
