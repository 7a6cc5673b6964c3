"""The daemon's rounds: which steps there are, in which order, and when the next one is due.

Controls and guidance come before settlement, so that a person's word is known when an attempt's end is judged;
requests after them; then everything that follows from decisions; then new attempts; then the picture for lookers.
Who is next in line may start earlier, in the batch of a settlement or of an admission, where nothing stands against it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from haikud.contracts.base import utc_now
from haikud.contracts.states import TaskState
from haikud.engine.answers.finishing import publish_answers, release_waiting
from haikud.engine.answers.questions import Questions
from haikud.engine.attempts.endings import Endings
from haikud.engine.attempts.ends import interrupt_all, next_limit, watch_limits
from haikud.engine.attempts.money import goes_on_today
from haikud.engine.attempts.role_lookup import RoleLookup
from haikud.engine.attempts.starting import start_what_may
from haikud.engine.board import Board
from haikud.engine.drops.controls import STOPS, Controls
from haikud.engine.drops.folders import WatchedFolder, open_drop_folder
from haikud.engine.drops.guidance import GuidanceDrops
from haikud.engine.drops.intake import TAKING_IN, Intake
from haikud.engine.drops.watcher import Watcher
from haikud.engine.engine import Engine
from haikud.engine.isolation_mode import IsolationMode
from haikud.engine.live_status import StatusWriter, held_back, in_a_line
from haikud.engine.log_levels import Alarm
from haikud.engine.machine.examining import Machine
from haikud.engine.machine.trouble import RETRY_SECONDS
from haikud.engine.monitors.monitors import Monitors
from haikud.engine.queue import end_quota_pause, follow_account
from haikud.engine.recovery import recover_drops, recover_gateway, recover_tasks, recover_unread
from haikud.engine.reloading import Reread, reload_settings
from haikud.engine.role_history import SECONDS_BETWEEN as BETWEEN_HISTORIES
from haikud.engine.role_history import write_role_history
from haikud.roles.files import RoleError
from haikud.spool.durable import remove_if_there
from haikud.spool.taken import split_taken_name
from haikud.workspace.durability import sync_filesystem

Step = Callable[[], Awaitable[None]]

CONTROLS = "carrying out controls"
STATUS = "writing status.json"
SETTLING = "settling attempts"
HISTORY = "keeping what finished tasks took"
RECOVERY = "taking up what an earlier daemon left"

PATIENCE_SECONDS = 0.2


class Rounds:
    """What the daemon does, again and again."""

    def __init__(self, engine: Engine, reread: Reread | None = None) -> None:
        layout, settings = engine.layout, engine.settings
        incoming = open_drop_folder(layout.incoming, settings)
        answers = open_drop_folder(layout.guidance, settings)
        commands = open_drop_folder(layout.control, settings, empty_is_fine=True)
        self._engine = engine
        self._reread = reread
        self._roles = RoleLookup(settings)
        self._intake = Intake(engine, incoming, self._roles)
        self._guidance = GuidanceDrops(engine, answers, self._roles)
        self._questions = Questions(engine, self._guidance)
        self._controls = Controls(engine, commands, self._requests_wait)
        self._incoming = WatchedFolder(incoming, self._intake.pending, set, sync=False)
        self._answers = WatchedFolder(answers, self._guidance.pending, set)
        self._commands = WatchedFolder(commands, self._controls.pending, self._controls.in_hand)
        self._due: list[WatchedFolder] = []  # of this round
        self._endings = Endings(engine, self._roles)
        self._status = StatusWriter(engine, utc_now())
        self._status_stale = True
        self._check_at = 0.0
        self._watcher: Watcher | None = None
        self._machine = Machine(engine)
        self._monitors = Monitors(engine)
        self._isolation = IsolationMode(engine)
        self._told_held: str | None = None

    @property
    def folders(self) -> list[WatchedFolder]:
        """In the order in which they are looked at."""
        return [self._commands, self._answers, self._incoming]

    def look(self, path: Path) -> None:
        """Something may have been dropped there."""
        for folder in self.folders:
            if folder.path == path:
                folder.look()

    async def recover(self, watcher: Watcher) -> bool:
        """Take up what an earlier daemon left; tried again while the machine refuses it. False: told to end first."""
        engine = self._engine
        self._watcher = watcher
        self._status.watcher = watcher.kind
        while not engine.stopping.detached.is_set():
            await self._machine.look()
            with engine.trouble.guard(RECOVERY):
                await self._recover()
                return True
            await self._machine.look()
            with engine.trouble.guard(STATUS):
                await self._status.work()
            engine.supervisor.waits(in_a_line(engine), RETRY_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY_SECONDS):
                    await engine.stopping.detached.wait()
        return False

    async def _recover(self) -> None:
        engine = self._engine
        engine.board = Board()  # what a try before this one had put on it is read again
        for folder in self.folders:
            folder.pending.clear()
        await engine.write(self._drop_old_stops)
        # What an earlier daemon or a runner wrote just before it was killed is seen, and not yet durable.
        await engine.write(sync_filesystem, engine.layout.root)
        gone = await recover_tasks(engine)
        await recover_gateway(engine)
        await recover_drops(engine, self._incoming.drops, [self._commands.drops, self._answers.drops])
        for folder in self.folders:  # as many as a scan brings; the others come with scans
            folder.pending.extend(await engine.write(folder.drops.left_over))
        with engine.trouble.guard(CONTROLS):
            await self._controls.work()  # before what has ended is settled: a cancel that was taken must hold
        for entry, end in gone:
            self._endings.look_after(entry, end)
        with suppress(RoleError, OSError):  # a reload of what is broken by then keeps these; a request tells why not
            await engine.aside(self._roles.catalogue)

    def _drop_old_stops(self) -> None:
        """A stop that was for an earlier daemon is removed, not obeyed; one that it had taken already too."""
        for name in STOPS:
            remove_if_there(self._engine.layout.control / name)
        for _, path in self._commands.drops.taken_tokens():
            if (parts := split_taken_name(path.name)) and parts[1] in STOPS:
                remove_if_there(path)

    async def run(self) -> None:
        """Round after round, until told to end."""
        engine = self._engine
        detached = asyncio.ensure_future(engine.stopping.detached.wait())
        engine.on_end = self._endings.take
        try:
            while True:
                engine.wake.clear()
                if not await self._round_unless(detached):
                    engine.say("detaching: running agents go on, the next start takes them up")
                    return
                engine.supervisor.alive()
                if self._is_over():
                    return
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._seconds_to_sleep()):
                        await engine.wake.wait()
        finally:
            engine.on_end = None
            detached.cancel()
            await asyncio.gather(detached, return_exceptions=True)

    async def _round_unless(self, detached: asyncio.Future[Any]) -> bool:
        """One round; False where it was cut short by the order to detach. The write in hand is finished at the end."""
        working = asyncio.ensure_future(self._round())
        try:
            await asyncio.wait({detached, working}, return_when=asyncio.FIRST_COMPLETED)
            if self._engine.stopping.detached.is_set():
                return False
            working.result()
            return True
        finally:
            if not working.done():
                working.cancel()
                await asyncio.gather(working, return_exceptions=True)

    async def close(self) -> None:
        """Leave what is under way; say in status.json that we are gone."""
        self._isolation.close()
        await self._endings.close()
        if self._engine.holds_spool():
            with self._engine.trouble.guard(STATUS):
                await self._monitors.read()
                await self._status.work(ended=True)
            with self._engine.trouble.guard(HISTORY):
                await self._keep_history(ended=True)

    def _is_over(self) -> bool:
        stopping = self._engine.stopping
        if not (stopping.draining or stopping.now) or self._endings.in_hand:
            return False
        return self._engine.board.count(TaskState.RUNNING) == 0

    async def _round(self) -> None:
        engine = self._engine
        self._status_stale = True
        if engine.reload_wanted and self._reread is not None:
            engine.reload_wanted = False
            await reload_settings(engine, self._reread, self._roles, self.folders)
        self._isolation.look()
        engine.gateway.look()
        self._endings.see()
        await self._machine.look()
        await self._check_now_and_then()
        self._due = self._folders_due()
        for folder in (self._commands, self._answers):
            if folder in self._due:
                await self._step(folder.doing, partial(folder.scan, engine))
        if self._controls.pending:
            await self._endings.mark(now=True)  # a retry finds what is answered off the board
        await self._step(CONTROLS, self._controls.work)
        await self._step("taking guidance", self._guidance.work)
        await self._step(SETTLING, self._settle)
        if not engine.trouble.holds_work:
            if self._incoming in self._due:  # not before what was said with controls and guidance is done
                act = self._intake.in_the_hop_of_a_scan()
                await self._step(self._incoming.doing, partial(self._incoming.scan, engine, act))
            await self._step(TAKING_IN, self._intake.work)
            self._see_not_started()
        await self._step("carrying on", self._carry_on)
        await self._step("starting attempts", self._start)
        await self._step("publishing", self._publish)
        await self._step("watching attempts", self._monitors.work)
        await self._machine.look()
        await self._step(STATUS, self._write_status)
        await self._step(HISTORY, self._keep_history)

    def _folders_due(self) -> list[WatchedFolder]:
        """Those to be scanned now.

        The timer scans what is due soon together, so that an idle daemon wakes up once for all; who drops something
        waits for no other folder.
        """
        until = self._engine.clock()
        if any(0.0 < folder.scan_at <= until for folder in self.folders):
            until += self._engine.settings.rescan_seconds / 2
        return [folder for folder in self.folders if folder.scan_at <= until]

    def _requests_wait(self) -> bool:
        """Whether a plan that is not known may be about to come."""
        return bool(self._intake.pending) or self._incoming in self._due

    def _see_not_started(self) -> None:
        for entry, end in self._intake.not_started:
            self._endings.look_after(entry, end)
        self._intake.not_started.clear()

    async def _step(self, doing: str, step: Step) -> None:
        """One step; what the environment refuses is tried again later."""
        trouble = self._engine.trouble
        if trouble.must_wait(doing):
            return
        with trouble.guard(doing):
            await step()

    async def _check_now_and_then(self) -> None:
        engine = self._engine
        if self._watcher is None or engine.clock() < self._check_at:
            return
        self._check_at = engine.clock() + engine.settings.rescan_seconds
        holds = True
        with engine.trouble.guard("looking at the spool's lock"):
            holds = engine.holds_spool()
        if not holds:
            engine.say(
                Alarm(f"{engine.layout.root} is not the folder that was locked: the spool was replaced; leaving it")
            )
            engine.stopping.detached.set()
            engine.wake.set()
            return
        if engine.unread:
            with engine.trouble.guard("reading plans again"):
                async for entry, end in recover_unread(engine):
                    self._endings.look_after(entry, end)
        with engine.trouble.guard("watching the drop folders"):
            self._watcher.check()
        self._status.watcher = self._watcher.kind

    async def _settle(self) -> None:
        await self._endings.settle()
        await self._controls.finish_carried_out()

    async def _carry_on(self) -> None:
        engine = self._engine
        if engine.stopping.now:
            await interrupt_all(engine)
        await watch_limits(engine)
        await follow_account(engine, engine.gateway.pause, is_linked=engine.gateway.state == "running")
        await end_quota_pause(engine)
        for entry in goes_on_today(engine, utc_now()):
            with engine.trouble.apart(f"queueing {entry.ref} again"):
                await engine.decide(entry, TaskState.QUEUED, "the day's budget has room again")
        for entry in engine.board.in_state(TaskState.DEFERRED):
            doing = f"queueing {entry.ref} again"
            if engine.deferred_seconds_left(entry) == 0 and not engine.trouble.must_wait(doing):
                with engine.trouble.apart(doing):
                    await engine.decide(entry, TaskState.QUEUED, f"due again: {entry.decision.reason}")
        await release_waiting(engine)

    async def _start(self) -> None:
        for entry, end in await start_what_may(self._engine, self._roles):
            self._endings.look_after(entry, end)
        held = held_back(self._engine)
        if (held is None) != (self._told_held is None):
            self._engine.say(held or "fewer questions are open: new attempts start again")
        self._told_held = held

    async def _publish(self) -> None:
        await release_waiting(self._engine)
        await self._questions.work()
        await publish_answers(self._engine)
        await self._endings.mark()

    async def _write_status(self) -> None:
        if self._engine.clock() >= self._status.due_at():
            self._status_stale = False
            self._engine.supervisor.tell(in_a_line(self._engine))
            await self._status.work()

    async def _keep_history(self, *, ended: bool = False) -> None:
        """Write role-history.json, where it has changed and was not written just now; never a reason to wake up."""
        engine, history = self._engine, self._engine.role_history
        if not history.is_changed or (engine.clock() < history.write_at and not ended):
            return
        history.is_changed, history.write_at = False, engine.clock() + BETWEEN_HISTORIES
        if not await engine.aside_or_here(write_role_history, history.path, history.record()):
            history.is_changed = True

    def _seconds_to_sleep(self) -> float:
        """Until the next time that something is due by itself."""
        engine, now = self._engine, self._engine.clock()
        trouble = engine.trouble
        if not trouble.must_wait(SETTLING) and self._endings.are_due:
            return 0.0
        pending = self._intake.pending or self._controls.pending or self._guidance.pending
        if pending and not trouble.lasts_anything:
            return 0.0
        times = [folder.scan_at for folder in self.folders]
        times += [self._endings.mark_at] if self._endings.mark_at is not None else []
        times += [time for time in (next_limit(engine), trouble.next_try()) if time is not None]
        if self._status_stale or engine.board.count(TaskState.RUNNING):
            times.append(self._status.due_at())
        if engine.board.count(TaskState.RUNNING):
            times.append(self._monitors.due_at())
        deferred = engine.board.in_state(TaskState.DEFERRED)
        left = [engine.pause_seconds_left(), *(engine.deferred_seconds_left(entry) for entry in deferred)]
        times += [now + seconds for seconds in left if seconds is not None]
        if (seconds := self._isolation.seconds_left()) is not None:
            times.append(now + seconds)
        if (seconds := engine.supervisor.seconds_left()) is not None:
            times.append(now + seconds)
        raised = self._questions.timers()
        times += [now + seconds for seconds in raised.values()]
        engine.timers.keep(
            {("queue", engine.queue.until), *((one.ref, one.decision.number) for one in deferred), *raised}
        )
        # What the environment refuses is due all the time: a little patience then.
        return max(PATIENCE_SECONDS if trouble.lasts_anything else 0.0, min(times) - now)
