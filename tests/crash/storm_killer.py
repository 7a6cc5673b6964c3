"""The killer of the storm: KILL to the daemon, to its gateway and to runners, at any moment and in nasty combinations.

It counts only what was delivered to a process that was alive. It keeps pace with the storm, so that kills fall on the
whole of it; within that, moments are random. The daemon is started again at once.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.crash.observer import Seen, look, spool_processes
from tests.crash.storm_stage import Stage

BURST = 0.35
"""The share of daemons that die 50 to 400 ms after their start: while they import or recover."""

GATEWAYS = 0.2
"""The share of all other kills that meet the gateway first."""

AT_WORK = 0.7
"""The share of runner kills that look for one whose agent lives; a random one would nearly always be starting."""


class Killer:
    """See the module's head. `progress` is the storm's, from 0 to 1."""

    def __init__(
        self, stage: Stage, dice: random.Random, progress: Callable[[], float], *, daemons: int, runners: int
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.violations: list[str] = []
        self.daemons = self.runners = 0  # killed
        self._stage = stage
        self._dice = dice
        self._progress = progress
        self._wanted = {"daemon": daemons, "runner": runners}
        self._frozen: list[tuple[float, Seen]] = []
        self._die_at = time.monotonic() + 1.0
        self._shoot_at = 0.0
        self._started_at = 0.0
        self._hurries = False  # whether this daemon dies at its start, whatever the pace

    def run(self, over: threading.Event) -> None:
        """Until `over`; then nothing is left stopped, and a daemon runs."""
        try:
            while not over.is_set():
                self._look_after_daemon()
                self._thaw()
                now = time.monotonic()
                if now >= self._die_at and (self._hurries or self._may("daemon", self.daemons)):
                    self._strike_daemon()
                elif now >= self._shoot_at and not self._hurries and self._may("runner", self.runners):
                    self._strike_runner()
                    self._shoot_at = time.monotonic() + self._dice.uniform(0, 0.4)
                time.sleep(0.005)
        finally:
            self._thaw(everyone=True)
            self._look_after_daemon()

    # -- when

    def _may(self, what: str, done: int) -> bool:
        wanted = self._wanted[what]
        return done < min(wanted, wanted * (self._progress() * 1.15 + 0.04))

    def _look_after_daemon(self) -> None:
        process = self._stage.house.process
        if process is not None and process.poll() is not None:
            self.violations.append(f"the daemon ended by itself with {process.returncode}")
            if len(self.violations) > 10:
                raise RuntimeError("the daemon ends by itself again and again")
            self._start_daemon()

    def _start_daemon(self) -> None:
        self._stage.house.start(wait=False)
        self._started_at = time.monotonic()
        self._hurries = self._dice.random() < BURST and self.daemons < self._wanted["daemon"]
        if self._hurries:
            self._die_at = time.monotonic() + self._dice.uniform(0.05, 0.4)
        else:
            is_late = self.daemons < self._wanted["daemon"] * self._progress()  # the quicker the storm, the sooner
            self._die_at = time.monotonic() + self._dice.uniform(0.4, 1.0 if is_late else 3.0)

    # -- the daemon

    def _strike_daemon(self) -> None:
        if self._dice.random() < GATEWAYS:
            self._kill_gateways()
        dice = self._dice.random()
        if dice < 0.12 and (runner := self._some_runner()):
            self._freeze(runner)
            self._kill_daemon()
        elif dice < 0.3 and (runner := self._some_runner()):
            self._kill_daemon(runner)
            self.counts["of them a runner and the daemon at once"] += 1
        else:
            self._kill_daemon()

    def _kill_daemon(self, runner: Seen | None = None) -> None:
        process = self._stage.house.process
        assert process is not None
        first = runner is not None and self._dice.random() < 0.5
        if runner is not None and first:
            self._kill_runner(runner)
        process.kill()
        if runner is not None and not first:
            self._kill_runner(runner)
        age = time.monotonic() - self._started_at
        if process.wait() == -signal.SIGKILL:
            self.daemons += 1
            self.counts["of them within 0.5 s of their start"] += age < 0.5
        else:
            self.violations.append(f"the daemon ended by itself with {process.returncode}")
        self._start_daemon()

    # -- runners

    def _kill_gateways(self) -> None:
        for found in self._stage.house.gateways():
            seen = look(found.pid)
            if seen is not None and deliver(seen, signal.SIGKILL):
                self.counts["gateways killed"] += 1

    def _strike_runner(self) -> None:
        if self._dice.random() < GATEWAYS:
            self._kill_gateways()
        dice = self._dice.random()
        if dice < 0.15:
            self._kill_after_result()
        elif dice < 0.3:
            self._kill_git()
        elif runner := self._some_runner():
            self._kill_runner(runner)

    def _runners(self, *, at_work: bool = False) -> list[tuple[Seen, Path | None]]:
        """Living runners, each with the folder of its attempt where that may be known; `at_work`: with an agent."""
        spool = self._stage.house.spool
        everyone = spool_processes(str(spool), self._stage.tag).values()
        busy = {who.ref for _, who in everyone if not who.is_runner}
        found = []
        for seen, who in everyone:
            if who.is_runner and (who.ref in busy or not at_work):
                plan, _, task = who.ref.partition(".")
                folder = spool / "plans" / plan / (task or plan) / f"attempt-{who.attempt}" if who.attempt else None
                found.append((seen, folder))
        pids = {seen.pid for seen, _ in found}
        return [(seen, folder) for seen, folder in found if seen.parent not in pids]

    def _some_runner(self) -> Seen | None:
        found = self._runners(at_work=self._dice.random() < AT_WORK) or self._runners()
        return self._dice.choice(found)[0] if found else None

    def _kill_runner(self, runner: Seen) -> bool:
        if not deliver(runner, signal.SIGKILL):
            return False
        self.runners += 1
        return True

    def _kill_after_result(self) -> None:
        """Between result.json and the exit."""
        waiting = [(seen, folder / "result.json") for seen, folder in self._runners() if folder is not None]
        waiting = [(seen, result) for seen, result in waiting if not result.exists()]
        until = time.monotonic() + 1.0
        while waiting and time.monotonic() < until:
            for seen, result in waiting:
                if result.exists():
                    if self._kill_runner(seen):
                        self.counts["of them after result.json"] += 1
                    return
            time.sleep(0.001)

    def _kill_git(self) -> None:
        """A runner, or the daemon, sees its own git die and goes on living."""
        daemon = self._stage.house.process
        parents = [seen.pid for seen, _ in self._runners()] + ([daemon.pid] if daemon else [])
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            for parent in parents:
                for child in _children(parent):
                    if _name_of(child.pid) == "git" and deliver(child, signal.SIGKILL):
                        self.counts["git processes of runners and daemons killed"] += 1
                        return
            time.sleep(0.001)

    # -- stopping

    def _freeze(self, runner: Seen) -> None:
        if deliver(runner, signal.SIGSTOP):
            self.counts["runners stopped while their daemon died"] += 1
            self._frozen.append((time.monotonic() + self._dice.uniform(0.1, 2.5), runner))

    def _thaw(self, *, everyone: bool = False) -> None:
        now = time.monotonic()
        for at, runner in list(self._frozen):
            if everyone or at <= now:
                deliver(runner, signal.SIGCONT)
                self._frozen.remove((at, runner))


def deliver(seen: Seen, number: signal.Signals) -> bool:
    """Signal exactly that process; whether it was alive."""
    try:
        descriptor = os.pidfd_open(seen.pid)
    except OSError:
        return False
    try:
        now = look(seen.pid)
        if now is None or now.started != seen.started:
            return False
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def _children(pid: int) -> list[Seen]:
    found: list[Seen] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            pids = (thread / "children").read_text(encoding="ascii").split()
            found += [seen for child in pids if (seen := look(int(child)))]
    return found


def _name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
