"""The daemon: one process, one event loop, no work of its own but parsing, deciding and watching.

It wakes for a reason (a dropped file, the end of an attempt, a time that has come), does one round of steps, and
sleeps. Every step works from the board and the disk and may be repeated, so that a step which the environment refuses
is left for later while the others go on, and so that dying between any two of them loses nothing.

Ends: SIGTERM detaches (agents go on), a drain waits for the last attempt, stop-now ends the attempts first. Exit code
0 for all of these, 1 where the spool cannot be served. A bug of ours ends it loudly; a restart is safe by design.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import haikud
from haikud.contracts.base import utc_now
from haikud.contracts.decision import QueueState
from haikud.contracts.format import SpoolFormat
from haikud.contracts.settings import Settings
from haikud.contracts.states import TaskState
from haikud.engine.attempts.environment import plain_environment
from haikud.engine.day_spend import DaySpend, read_day_spend
from haikud.engine.drops.watcher import Watcher
from haikud.engine.engine import Engine
from haikud.engine.launchers.forkserver import SPARES, ForkserverClient
from haikud.engine.launchers.local import LocalLauncher
from haikud.engine.launchers.protocol import attempt_name
from haikud.engine.live_status import in_a_line
from haikud.engine.log_levels import Alarm
from haikud.engine.machine.faults import CURES, describe, kind_of
from haikud.engine.machine.open_files import raise_open_files
from haikud.engine.machine.trouble import Trouble
from haikud.engine.reloading import Reread
from haikud.engine.role_history import read_role_history
from haikud.engine.rounds import Rounds
from haikud.engine.secrets import Secrets
from haikud.engine.supervisor import Supervisor
from haikud.sandbox.prctl import make_undumpable
from haikud.spool.daemon_lock import DaemonLock, SpoolIsTaken, hold_daemon_lock
from haikud.spool.drops import ignore_sigio
from haikud.spool.format import SpoolFormatError, open_spool
from haikud.spool.layout import SpoolLayout
from haikud.spool.log_lines import Dress
from haikud.spool.models import UnreadableFile
from haikud.spool.queue_state import read_queue_state
from haikud.spool.store import Store
from haikud.spool.syncing import begin_side_by_side

__all__ = ["Secrets", "run_daemon"]

Say = Callable[[str], None]

GATEWAY_SECONDS = 10.0
"""How long a gateway that nobody needs any more may take to end, where nothing hurries us; then it is killed."""

HURRIED_SECONDS = 2.0
"""How long it is waited for where something does: it ends by itself."""


async def run_daemon(
    layout: SpoolLayout,
    settings: Settings,
    *,
    secrets: Secrets,
    foreground: bool,
    say: Say,
    supervisor: Supervisor | None = None,
    reread: Reread | None = None,
    dress: Dress = Dress.PEOPLE,
) -> int:
    """Serve a spool until told to end; the exit code.

    `foreground`: the first Ctrl-C drains, the second ends the agents, a third detaches. `say` gets a line an event.
    `supervisor` hears when everything of an earlier daemon is taken up and drops are watched, and more. SIGHUP has the
    settings reread by `reread`; without one it detaches. `dress`: how the gateway's lines of the log are to look.
    """
    ignore_sigio()
    make_undumpable()
    begin_side_by_side()
    # One spelling of every path, whoever starts us how: processes of an attempt are found again by it.
    layout = SpoolLayout(layout.root.resolve())
    opened = _open(layout, settings, say)
    if opened is None:
        return 1
    spool, lock, queue, day = opened
    with lock:
        loop = asyncio.get_running_loop()
        wake = asyncio.Event()

        def on_end() -> None:
            wake.set()
            if engine.on_end is not None:
                engine.on_end()

        engine = Engine(
            layout=layout,
            settings=settings,
            secrets=secrets,
            spool_id=spool.spool_id,
            say=say,
            store=Store(layout),
            launcher=_launcher(loop, on_end, spool.spool_id, settings, say),
            trouble=Trouble(say, time.monotonic),
            queue=queue,
            day=day,
            clock=time.monotonic,
            wake=wake,
            holds_spool=lock.holds,
            role_history=read_role_history(layout),
            queue_since=_written_at(layout.queue_file),
            supervisor=supervisor or Supervisor(),
            dress=dress,
        )
        _listen_to_signals(loop, engine, foreground=foreground, may_reload=reread is not None)
        say(f"haikud {haikud.__version__} pid {os.getpid()} serves {layout.root}")
        try:
            await _serve(engine, loop, reread)
        finally:
            engine.launcher.close()
            engine.close()
    return 0


def _launcher(
    loop: asyncio.AbstractEventLoop, on_end: Callable[[], None], spool_id: str, settings: Settings, say: Say
) -> LocalLauncher:
    open_files = raise_open_files()

    def forkserver(on_code: Callable[[int, int], None]) -> ForkserverClient:
        spares, environment = min(settings.max_agents, SPARES), plain_environment(os.environ)
        return ForkserverClient(
            loop, environment, on_code, say, open_files=open_files, spares=spares, spool_id=spool_id
        )

    wanted = forkserver if settings.launcher == "forkserver" else None
    return LocalLauncher(loop, on_end, spool_id=spool_id, open_files=open_files, forkserver=wanted)


def _open(
    layout: SpoolLayout, settings: Settings, say: Say
) -> tuple[SpoolFormat, DaemonLock, QueueState, DaySpend] | None:
    """The spool, locked; None where it cannot be served, which was said then.

    On a full disk an existing spool can be locked all the same: the daemon begins then, and waits for room.
    """
    try:
        spool = open_spool(layout.root, group=settings.group)
        lock = hold_daemon_lock(layout)
    except (SpoolFormatError, SpoolIsTaken) as error:
        say(Alarm(error))
        return None
    except OSError as error:
        say(_cannot_serve(layout, error))
        return None
    try:
        return spool, lock, read_queue_state(layout), read_day_spend(layout, utc_now())
    except (OSError, UnreadableFile) as error:
        say(_cannot_serve(layout, error))
        lock.release()
        return None


def _written_at(path: Path) -> datetime:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return utc_now()


def _cannot_serve(layout: SpoolLayout, error: Exception) -> str:
    kind = kind_of(error)
    return Alarm(f"{layout.root} cannot be served: {kind}: {describe(error)}; {CURES[kind]}; then start again")


async def _serve(engine: Engine, loop: asyncio.AbstractEventLoop, reread: Reread | None) -> None:
    rounds = Rounds(engine, reread)

    def look(folder: Path) -> None:
        rounds.look(folder)
        engine.wake.set()

    folders = [folder.path for folder in rounds.folders]
    watcher = Watcher(folders, loop, look, engine.settings, engine.trouble, engine.say)
    watcher.start()
    try:
        gc.disable()  # what recovery reads stays: looking for garbage in it again and again costs a third of its time
        recovered = await rounds.recover(watcher)
        gc.freeze()
        gc.enable()
        if recovered:
            engine.launcher.begin()
            engine.supervisor.tell(in_a_line(engine))
            engine.supervisor.ready()
            await rounds.run()
    finally:
        engine.supervisor.stopping()
        watcher.stop()
        await rounds.close()
        await _leave_gateway(engine)


async def _leave_gateway(engine: Engine) -> None:
    """It ends with us, but for agents that go on and need it."""
    running = (entry for entry in engine.board.in_state(TaskState.RUNNING))
    is_needed = any(attempt_name(entry.ref, entry.decision.attempt) in engine.gateway.tokens for entry in running)
    hurries = engine.stopping.detached.is_set()
    seconds = HURRIED_SECONDS if hurries else GATEWAY_SECONDS
    await engine.gateway.leave(is_needed=is_needed, wait_seconds=seconds, kill=not hurries)


def _listen_to_signals(loop: asyncio.AbstractEventLoop, engine: Engine, *, foreground: bool, may_reload: bool) -> None:
    stopping = engine.stopping

    def detach() -> None:
        stopping.detached.set()
        engine.wake.set()

    def reload() -> None:
        engine.reload_wanted = True
        engine.wake.set()

    def interrupt() -> None:
        if stopping.now:
            detach()
            return
        if stopping.draining:
            stopping.now = True
            engine.say("stopping now: running attempts are ended, their tasks queued again; Ctrl-C again to leave them")
        else:
            stopping.draining = True
            engine.say("draining: no new attempts; ends when the last has; Ctrl-C again to end them now")
        engine.wake.set()

    loop.add_signal_handler(signal.SIGTERM, detach)
    loop.add_signal_handler(signal.SIGHUP, reload if may_reload else detach)
    loop.add_signal_handler(signal.SIGINT, interrupt if foreground else detach)
