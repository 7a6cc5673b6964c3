"""Where the storm takes place: a house with several repositories, roles, a scripted API and an observer.

Agents are witnesses: they write what they see into `witness/`, which lies outside the spool.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from tests.crash.storm_plans import AskedTask, Kind
from tests.support.house import House
from tests.support.repository import make_repository
from tests.support.waiting import wait_until

PROJECT = Path(__file__).resolve().parents[2]
AGENT = Path(__file__).with_name("storm_agent.sh")
REPOSITORIES = 3
AGENTS_AT_ONCE = 8

SCENARIO = {
    "name": "storm",
    "conversations": [
        {
            "name": "the storm's built-in agents",
            "turns": [
                {"tools": [{"name": "bash", "input": {"command": f"bash '{AGENT}' built-in"}}]},
                {
                    "label": "judge",
                    "branches": [{"when": "STORM DONE", "text": "Every step is done."}],
                    "tools": [{"name": "bash", "input": {"command": f"bash '{AGENT}' built-in"}}],
                    "next": "judge",
                },
            ],
        }
    ],
}
"""The scripted model runs the storm's agent by its bash tool, until that says that it is done."""


class Stage:
    """A place for one storm. `close()` ends every process of it."""

    def __init__(self, root: Path, tag: str, launcher: str = "subprocess") -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root
        self.tag = tag
        self.witness = root / "witness"
        for name in ("presence", "beats", "once"):
            (self.witness / name).mkdir(parents=True)
        self.violations = self.witness / "violations"
        self.house = House(root, _settings(self.witness, launcher))
        more = [make_repository(root / f"project-{number}") for number in range(2, REPOSITORIES + 1)]
        self.repositories = [self.house.repository, *more]
        for kind in Kind:
            if kind is not Kind.BUILT_IN:
                self.house.role(kind.value, f'exec bash "{AGENT}" {kind.value}')
        self._others: list[subprocess.Popen[bytes]] = []

    def open(self) -> None:
        """Start the scripted API, the observer and the first daemon."""
        self._start_api()
        spool = self.house.spool
        self.house.start()
        self._observer = self._spawn(
            *("tests.crash.observer", "--spool", str(spool), "--tag", self.tag),
            *("--report", str(self.root / "observed.json"), "--violations", str(self.violations)),
        )

    def observed(self) -> dict[str, Any]:
        """End the observer; its report."""
        self._observer.terminate()
        code = self._observer.wait(timeout=30)
        if code != 0:
            return {"violations": [f"the observer itself ended with {code}"]}
        found: dict[str, Any] = json.loads((self.root / "observed.json").read_text(encoding="utf-8"))
        return found

    def close(self) -> None:
        """End everything."""
        self.house.close()
        for process in self._others:
            process.kill()
            process.wait(timeout=20)

    def task_folder(self, task: AskedTask) -> Path:
        """plans/PLAN/TASK."""
        return self.house.spool / "plans" / task.plan_id / task.id

    def breaches(self) -> list[str]:
        """What agents and the observer wrote down by now."""
        return self.violations.read_text(encoding="utf-8").splitlines() if self.violations.exists() else []

    def _start_api(self) -> None:
        scenario, port = self.root / "scenario.yaml", self.root / "port"
        scenario.write_text(yaml.safe_dump(SCENARIO), encoding="utf-8")
        self._spawn("haikud.offline", str(scenario), "--port-file", str(port), "--with-parent")
        wait_until(port.exists, what="the scripted API")
        self.house.environment = {
            "ANTHROPIC_API_KEY": "sk-ant-scripted-0123456789",
            "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port.read_text(encoding='ascii').strip()}",
        }

    def _spawn(self, *words: str) -> subprocess.Popen[bytes]:
        with (self.root / "others.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *words],
                cwd=PROJECT,
                env=self.house.base_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._others.append(process)
        return process


def _settings(witness: Path, launcher: str) -> dict[str, Any]:
    """Waits are short. The bounds on retries are high: here kills are many, and none may fail a task by a bound."""
    return {
        "max_agents": AGENTS_AT_ONCE,
        "launcher": launcher,
        "retries": {"attempts": 50, "orphans": 50, "environment": 50, "waits": [0.05, 0.1]},
        "environment": {"set_values": {"STORM": str(witness)}},
        "budgets": {"task_usd": 5.0, "plan_usd": 50.0, "day_usd": 500.0},
    }
