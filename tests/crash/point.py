"""One point of the walk: a story is told, a process dies just before one system call, an ordinary daemon ends it.

The daemon that dies runs under `tracer.py`; the one that follows is like any other. Nothing is stopped gracefully on
the way. A run without a point lists the calls.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.crash.checks import check_end, overlapping
from tests.crash.scenario import Scenario
from tests.support.house import House
from tests.support.waiting import wait_until

from haikud.offline.scenario import parse_scenario
from haikud.offline.server import ScriptedApi

TRACER = Path(__file__).with_name("tracer.py")

SECONDS = 60.0
"""Longer than any story takes, dead processes and waits for them included."""

LOOK_SECONDS = 0.2
"""How often /proc is looked through for two living attempts of one task."""


@dataclass
class Outcome:
    """What became of one run."""

    calls: list[dict[str, Any]] = field(default_factory=list)  # as the tracer notes them
    died: str | None = None  # the key of the call that was never made
    wrong: list[str] = field(default_factory=list)
    said: str = ""  # logs, where something is wrong
    seconds: float = 0.0


def run_point(scenario: Scenario, root: Path, kill: str | None) -> Outcome:
    """Tell the story in `root`, a new folder, with a death at `kill` (None: none; see tracer.py)."""
    began = time.monotonic()
    outcome = Outcome()
    root.mkdir(parents=True)
    with _api(scenario) as environment:
        house = House(root, settings=scenario.settings, environment=environment)
        scenario.roles(house)
        traced = _Traced(house, kill)
        try:
            _tell(scenario, house, traced, outcome)
            if not outcome.wrong:
                runner_died = outcome.died is not None and not outcome.died.startswith("daemon")
                outcome.wrong += check_end(house, scenario, runner_died=runner_died)
        except AssertionError as error:
            outcome.wrong.append(str(error).partition("\n")[0])
        finally:
            traced.close()
            outcome.calls = traced.calls()
            if outcome.wrong:
                outcome.said = house.tail()
            house.close()
    outcome.seconds = time.monotonic() - began
    return outcome


class _Traced:
    """The daemon that is to die, and its tracer."""

    def __init__(self, house: House, kill: str | None) -> None:
        self._house = house
        self._record = house.root / "calls.jsonl"
        self._said = house.root / "tracer.out"
        chosen = ["--kill", kill] if kill else []
        with self._said.open("wb") as out, (house.root / "daemon.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, str(TRACER), "--root", str(house.root), "--record", str(self._record)),
                    *(*chosen, "--", *house.command()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                env={**house.base_environment(), "PYTHONDONTWRITEBYTECODE": "1"},
                cwd=house.root,
                start_new_session=True,
            )

    def killed(self) -> str | None:
        """The key of the call that was never made, once its process is gone."""
        said = self._said.read_text(encoding="utf-8")
        return said.split(" ", 2)[2].rstrip("\n") if said.endswith("\n") else None

    def daemon_pid(self) -> int | None:
        """Of the traced daemon, once it serves."""
        status = self._house.read("status.json")
        return int(status["daemon"]["pid"]) if status else None

    def calls(self) -> list[dict[str, Any]]:
        """What was noted; a last line that is being written is left out."""
        text = self._record.read_text(encoding="utf-8") if self._record.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def close(self) -> None:
        """End the tracer, and with it all that it follows."""
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(timeout=20)


def _tell(scenario: Scenario, house: House, traced: _Traced, outcome: Outcome) -> None:
    """Step by step, whoever lives."""
    steps = list(scenario.steps)
    end = time.monotonic() + SECONDS
    look_at = 0.0
    succeeded_by = False  # an ordinary daemon
    while True:
        if outcome.died is None and (died := traced.killed()) is not None:
            outcome.died = died
            if died.startswith("daemon"):
                house.start(wait=False)
                succeeded_by = True
        if outcome.died is None and traced.process.poll() is not None:
            raise AssertionError(f"the traced daemon ended by itself, {traced.process.returncode}")
        if succeeded_by and house.process is not None and house.process.poll() is not None:
            raise AssertionError(f"the daemon that followed ended, {house.process.returncode}")
        if steps and (house.spool / "status.json").exists() and steps[0].when(house):
            steps.pop(0).do(house)
            continue
        if not steps and scenario.answered(house):
            break
        now = time.monotonic()
        if now >= look_at:
            look_at = now + LOOK_SECONDS
            outcome.wrong += overlapping(house.spool)
        if now >= end:
            left = f"{len(steps)} steps are left" if steps else "not all is answered"
            raise AssertionError(f"after {SECONDS:g} s {left}")
        time.sleep(0.02)
    _end(house, traced, succeeded=succeeded_by)
    outcome.died = outcome.died or _died_as_it_ended(house, traced)


def _died_as_it_ended(house: House, traced: _Traced) -> str | None:
    """With nothing left to do; but what it was writing is for the next one to remove."""
    died = traced.killed()
    if died is not None:
        house.start()
        _end(house, traced, succeeded=True)
    return died


def _end(house: House, traced: _Traced, *, succeeded: bool) -> None:
    """Let whichever daemon lives detach, and everything else end by itself."""
    if succeeded:
        wait_until(house.is_ready, what="the daemon to be ready")
        house.send(signal.SIGTERM)
        code = house.ended()
        assert code == 0, f"the daemon that followed ended with {code}"
    else:
        pid = traced.daemon_pid()
        assert pid is not None
        with contextlib.suppress(ProcessLookupError):  # it has reached its point just now
            os.kill(pid, signal.SIGTERM)
    traced.process.wait(timeout=20)


@contextlib.contextmanager
def _api(scenario: Scenario) -> Iterator[dict[str, str]]:
    if scenario.api is None:
        yield {}
        return
    with ScriptedApi(parse_scenario(scenario.api)) as api:
        yield {"ANTHROPIC_API_KEY": "sk-ant-scripted-0123456789", "ANTHROPIC_BASE_URL": api.base_url}
