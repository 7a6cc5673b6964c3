"""Ending running attempts from outside: the order in orders.json, then TERM, a grace period, KILL.

KILL goes to the runner alone; its tree is ended, and proven empty, in the attempt's aftermath.
"""

from __future__ import annotations

from haikud.contracts.attempt import EndOrder, Orders
from haikud.contracts.states import TaskState
from haikud.engine.board import OpenTask, OrderedEnd
from haikud.engine.engine import Engine
from haikud.engine.launchers.protocol import attempt_name
from haikud.engine.log_levels import Warn
from haikud.spool.durable import write_quickly
from haikud.spool.layout import AttemptPaths
from haikud.spool.models import dump

MARGIN_SECONDS = 3.0
"""On top of the grace period, for the runner to write its result."""


async def order_end(engine: Engine, entry: OpenTask, order: EndOrder, reason: str, *, token: str | None = None) -> None:
    """Tell a running attempt why it must end, and end it. A cancel outranks every other order."""
    before = entry.ordered_end
    if before is not None and before.order is order and before.token is None:
        before.token = token  # an order that an earlier daemon gave, and of which the cause is known now
    if before is not None and (before.order is EndOrder.CANCEL or order is not EndOrder.CANCEL):
        return
    with engine.trouble.guard(f"telling {entry.ref} why it ends", once=True):  # it ends all the same; we know why
        await engine.write(write_orders, current_paths(engine, entry), Orders(end=order, reason=reason))
    kill_at = before.kill_at if before is not None else engine.clock() + entry.grace_seconds + MARGIN_SECONDS
    entry.ordered_end = OrderedEnd(order, reason, token, kill_at)
    engine.launcher.terminate(attempt_name(entry.ref, entry.decision.attempt))
    engine.say(f"ending {entry.ref} attempt {entry.decision.attempt}: {reason}")


async def order_pause(engine: Engine, entry: OpenTask, token: str | None) -> None:
    """Tell a running attempt to end at its next turn (`token`), or that it need not any more (None)."""
    if entry.ordered_end is None:
        orders = Orders(pause=token is not None, intervene=entry.intervention)
        await engine.write(write_orders, current_paths(engine, entry), orders)
    entry.pause_token = token


async def watch_limits(engine: Engine) -> None:
    """End what is over its time limit; kill what has outlived its grace period."""
    now = engine.clock()
    for entry in engine.board.in_state(TaskState.RUNNING):
        if entry.ordered_end is None and entry.ends_at is not None and entry.ends_at <= now:
            await order_end(engine, entry, EndOrder.TIME_LIMIT, "over its time limit")
        ordered = entry.ordered_end
        if ordered is not None and ordered.kill_at is not None and ordered.kill_at <= now:
            ordered.kill_at = None
            engine.launcher.terminate(attempt_name(entry.ref, entry.decision.attempt), force=True)
            engine.say(Warn(f"killed {entry.ref} attempt {entry.decision.attempt}: it outlived its grace period"))


async def interrupt_all(engine: Engine) -> None:
    """End every running attempt; their tasks will be queued again."""
    for entry in engine.board.in_state(TaskState.RUNNING):
        await order_end(engine, entry, EndOrder.INTERRUPT, "the daemon stops")


def next_limit(engine: Engine) -> float | None:
    """When `watch_limits` has something to do next, monotonic seconds."""
    times: list[float] = []
    for entry in engine.board.in_state(TaskState.RUNNING):
        if entry.ordered_end is None:
            times += [entry.ends_at] if entry.ends_at is not None else []
        elif entry.ordered_end.kill_at is not None:
            times.append(entry.ordered_end.kill_at)
    return min(times, default=None)


def current_paths(engine: Engine, entry: OpenTask) -> AttemptPaths:
    """The folder of the task's current attempt."""
    return engine.layout.task(entry.ref).attempt(entry.decision.attempt)


def write_orders(paths: AttemptPaths, orders: Orders) -> None:
    """Replace orders.json. It outlives the daemon; after a power cut there is no runner to obey it."""
    write_quickly(paths.orders, dump(orders))
