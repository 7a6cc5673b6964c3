"""The attempts that end: who clears up after them, who is to be settled, and what is still to be marked as published.

Holds what lies between a runner's end and its task's last decision; what is done with it: aftermath.py, handover.py,
settlement.py. All of it lies in memory alone: what a crash takes away, recovery finds again.
"""

from __future__ import annotations

import asyncio
from collections import deque

from haikud.contracts.states import TaskState
from haikud.engine.answers.finishing import mark_published, to_mark
from haikud.engine.attempts.aftermath import Aftermath, look_after
from haikud.engine.attempts.handover import hand_over
from haikud.engine.attempts.role_lookup import RoleLookup
from haikud.engine.attempts.settlement import settle_attempt
from haikud.engine.board import OpenTask
from haikud.engine.engine import Engine
from haikud.engine.launchers.protocol import End

MARK_SECONDS = 0.05
"""How long the mark of what is published may wait for the end of another attempt, to be made durable with that."""


class Endings:
    """See the module's head."""

    def __init__(self, engine: Engine, roles: RoleLookup) -> None:
        self._engine = engine
        self._roles = roles
        self._aftermaths: set[asyncio.Task[None]] = set()
        self._over: deque[Aftermath] = deque()
        self.mark_at: float | None = None  # when marks are made that wait, monotonic seconds

    @property
    def in_hand(self) -> bool:
        """Whether an attempt has ended that is not settled yet."""
        return bool(self._aftermaths or self._over)

    @property
    def are_due(self) -> bool:
        """Whether one may be settled now."""
        return any(not self._engine.trouble.must_wait(one.doing) for one in self._over)

    def take(self) -> None:
        """Begin to clear up after runners that have ended. Called at once, in the midst of a round that waits, too."""
        engine = self._engine
        for name, end in engine.launcher.poll().items():
            ref, _, number = name.rpartition(".")
            entry = engine.board.tasks.get(ref)
            if entry is not None and entry.state is TaskState.RUNNING and entry.decision.attempt == int(number):
                self.look_after(entry, end)

    def look_after(self, entry: OpenTask, end: End) -> None:
        """Clear up after one attempt, beside all else; then it waits to be settled."""

        async def follow() -> None:
            self._over.append(await look_after(self._engine, entry, end))

        task = asyncio.get_running_loop().create_task(follow(), name=f"aftermath of {entry.ref}")
        task.add_done_callback(lambda _: self._engine.wake.set())
        self._aftermaths.add(task)

    def see(self) -> None:
        """Take the ends that have come. Raises what was a bug of ours in the clearing up."""
        self.take()
        for task in [one for one in self._aftermaths if one.done()]:
            self._aftermaths.discard(task)
            task.result()

    async def settle(self) -> None:
        """Settle what is over, together as far as that is simple; who is next starts with it."""
        trouble = self._engine.trouble
        ready = [one for one in self._over if not trouble.must_wait(one.doing)]
        done = await hand_over(self._engine, self._roles, ready)
        for aftermath in done.settled:
            self._over.remove(aftermath)
        for entry, end in done.failed:
            self.look_after(entry, end)
        for aftermath in ready:
            if aftermath not in done.settled:
                with trouble.apart(aftermath.doing):
                    await settle_attempt(self._engine, aftermath)
                    self._over.remove(aftermath)

    async def mark(self, *, now: bool = False) -> None:
        """Mark what is published: with the next attempt that ends, if one is soon to, else in a batch of its own."""
        engine = self._engine
        if not now and engine.board.count(TaskState.RUNNING) and to_mark(engine):
            if self.mark_at is None:
                self.mark_at = engine.clock() + MARK_SECONDS
            if engine.clock() < self.mark_at:
                return
        self.mark_at = None
        await mark_published(engine)

    async def close(self) -> None:
        """Leave what is under way, and let the claims go."""
        for task in self._aftermaths:
            task.cancel()
        await asyncio.gather(*self._aftermaths, return_exceptions=True)
        for aftermath in self._over:
            aftermath.release()
