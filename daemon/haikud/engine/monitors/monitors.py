"""The step that watches running attempts: reads on what they report, judges, and orders what is to be done.

An intervention is an order in orders.json, which stays there whatever becomes of the daemon; the attempt obeys it at
its next turn, gathers the facts and ends. It is given once in an attempt. What an attempt reported is read from its
beginning by a daemon that starts later, with the times at which it happened, so that a restart neither forgets a
streak nor begins it anew. Where the machine refuses to write events, silence means nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from haikud.contracts.attempt import AttemptEvent, Orders
from haikud.contracts.intervention import Intervention
from haikud.contracts.states import TaskState
from haikud.engine.attempts.ends import current_paths, write_orders
from haikud.engine.attempts.tail import read_on
from haikud.engine.board import OpenTask, Progress
from haikud.engine.engine import Engine
from haikud.engine.log_levels import Warn
from haikud.engine.monitors.judge import choose_action, judge
from haikud.spool.layout import AttemptPaths

SECONDS_BETWEEN = 1.0


class Monitors:
    """Looks at every running attempt, at most once a second."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._looked_at = float("-inf")

    def due_at(self) -> float:
        """When to look next, monotonic seconds."""
        return self._looked_at + SECONDS_BETWEEN

    async def work(self) -> None:
        """Read on and judge. Raises OSError: then call again."""
        now = self._engine.clock()
        if now < self.due_at():
            return
        self._looked_at = now
        await self.read()
        for entry in self._engine.board.in_state(TaskState.RUNNING):
            await self._look_at(entry)

    async def read(self) -> None:
        """Read on what the running attempts report."""
        engine = self._engine
        running = engine.board.in_state(TaskState.RUNNING)
        if not running:
            return
        looks = [(current_paths(engine, entry), entry.progress) for entry in running]
        read = await engine.aside_or_here(_read_all, looks, engine.clock)
        for entry, progress in zip(running, read, strict=True):
            if engine.board.tasks.get(entry.ref) is entry and entry.state is TaskState.RUNNING:
                entry.progress = progress

    async def _look_at(self, entry: OpenTask) -> None:
        engine, progress = self._engine, entry.progress
        if engine.trouble.holds_work:
            progress.watch = replace(progress.watch, life_at=engine.clock())
        self._tell_undeclared(entry)
        if progress.is_behind or entry.intervention or entry.ordered_end or entry.pause_token:
            return
        settings = engine.settings.monitors
        for found in judge(progress.watch, settings, engine.clock()):
            if any(one.trigger is found.trigger for one in entry.seen):
                continue
            action = choose_action(settings, entry.decision.restarts)
            await self._intervene(entry, found.model_copy(update={"action": action}))
            if entry.intervention is not None:
                return

    async def _intervene(self, entry: OpenTask, found: Intervention) -> None:
        """Durable first: the order is in its place before anyone hears of it."""
        engine = self._engine
        if found.action != "note":
            await engine.write(write_orders, current_paths(engine, entry), Orders(intervene=found))
            entry.intervention = found
        entry.seen = (*entry.seen, found)
        attempt = entry.decision.attempt
        what = "noted" if found.action == "note" else f"pauses it at its next turn to {found.action}"
        engine.note(
            entry.plan.id,
            "intervention",
            found.message,
            ref=entry.ref,
            attempt=attempt,
            detail=found.model_dump(mode="json"),
        )
        engine.say(Warn(f"{entry.ref} attempt {attempt}: a monitor {what}: {found.message}"))

    def _tell_undeclared(self, entry: OpenTask) -> None:
        """The ledger names each file once."""
        new = [name for name in entry.progress.watch.undeclared if name not in entry.told_files]
        if new:
            entry.told_files |= frozenset(new)
            message = f"changes files that it does not declare: {', '.join(new)}"
            self._engine.note(entry.plan.id, "note", message, ref=entry.ref, attempt=entry.decision.attempt)
            self._engine.say(f"{entry.ref} {message}")


def _read_all(looks: list[tuple[AttemptPaths, Progress]], clock: Callable[[], float]) -> list[Progress]:
    """The progress of each. The runner's monotonic clock is the machine's, and so is `time`'s here."""
    now, offset = clock(), clock() - time.monotonic()

    def place(event: AttemptEvent) -> float:
        return now if event.clock is None else min(now, event.clock + offset)

    return [read_on(paths, progress, place) for paths, progress in looks]
