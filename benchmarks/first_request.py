"""From the rename of a request to the built-in agent's first request at the API, with and without the forkserver.

Run, at the top of a checkout: python -m benchmarks.first_request [--rounds 15] [--json FILE]

Four ways in turns, against one scripted Messages API on loopback: a real daemon whose runners are forked, with a
worktree and in a role with `workspace: none`; one whose runners are executed; and, for comparison, a fresh Python that
imports `anthropic` and sends one request. The daemons' requests go through their gateways. Each round's answer is
waited for before the next begins, so the daemons idle. Memory is what the kernel calls private (smaps_rollup) of a
runner whose agent waits for its first answer.

What it does not show: a busy machine, a large repository (git's worktree is part of the way), the real API's network.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.figures import Row, arguments, finish, percentile, private_megabytes, ready_house
from tests.support.house import House
from tests.support.scripts import DONE, conversation, scenario
from tests.support.waiting import wait_until

from haikud.offline.scenario import parse_scenario
from haikud.offline.server import ScriptedApi

BARE = """
import anthropic, sys
client = anthropic.Anthropic(api_key="sk-ant-scripted-1", base_url=sys.argv[1], max_retries=0)
client.messages.create(model="claude-haiku-5-5", max_tokens=16, messages=[{"role": "user", "content": "Hi"}])
"""

BARE_ROLE = "without-git"
ROLE = f"---\nname: {BARE_ROLE}\ndescription: Works in an empty folder.\nworkspace: none\n---\nDo the task.\n"


@dataclass
class Figures:
    """Of one way, in milliseconds and megabytes."""

    seconds: list[float] = field(default_factory=list)
    private: list[float] = field(default_factory=list)

    def rows(self, name: str, bare: float) -> list[Row]:
        """A line of the table; `bare`: the median of the bare way, in seconds."""
        middle = statistics.median(self.seconds)
        found = [
            Row(name, middle * 1000, "ms", column="p50"),
            Row(name, percentile(self.seconds, 0.95) * 1000, "ms", column="p95"),
            Row(name, bare / middle, "x", column="faster than bare"),
        ]
        memory = statistics.median(self.private) if self.private else None
        return found if memory is None else [*found, Row(name, memory, "MB", column="private memory")]


def house_of(folder: Path, launcher: str, api: ScriptedApi) -> House:
    """A daemon that is ready to fork or to execute; its gateway runs."""
    environment = {"ANTHROPIC_API_KEY": "sk-ant-scripted-1", "ANTHROPIC_BASE_URL": api.base_url}
    house = ready_house(folder, {"launcher": launcher}, environment)
    (house.roles / f"{BARE_ROLE}.md").write_text(ROLE, encoding="utf-8")
    house.request("first", title="Warm up")
    house.response("first")
    return house


def by_house(house: House, api: ScriptedApi, name: str, figures: Figures, role: str | None = None) -> None:
    """One round."""
    before = len(api.journal)
    began = time.monotonic()
    house.request(name, title=f"Task {name}", **({"role": role} if role else {}))
    wait_until(lambda: len(api.journal) > before, seconds=60, what="the request", pause=0.0005)
    figures.seconds.append(time.monotonic() - began)
    figures.private.append(private_megabytes(house.runner_pid(name)))
    house.response(name)


def by_hand(api: ScriptedApi, figures: Figures) -> None:
    """A fresh interpreter that sends one request."""
    before = len(api.journal)
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-c", BARE, api.base_url])
    wait_until(lambda: len(api.journal) > before, seconds=60, what="the request", pause=0.0005)
    figures.seconds.append(time.monotonic() - began)
    process.wait()


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    forked, without_git, executed, bare = Figures(), Figures(), Figures(), Figures()
    slow = {**DONE, "fault": {"kind": "delay", "delay_seconds": 0.5}}
    with (
        tempfile.TemporaryDirectory(prefix="haikud-first-") as place,
        ScriptedApi(parse_scenario(scenario(conversation(slow)))) as api,
    ):
        houses = [house_of(Path(place) / launcher, launcher, api) for launcher in ("forkserver", "subprocess")]
        try:
            for number in range(options.rounds):
                by_house(houses[0], api, f"t{number}", forked)
                by_house(houses[0], api, f"n{number}", without_git, BARE_ROLE)
                by_house(houses[1], api, f"t{number}", executed)
                by_hand(api, bare)
        finally:
            for house in houses:
                house.close()
    middle = statistics.median(bare.seconds)
    rows = forked.rows("forked runner", middle) + without_git.rows("forked runner, no worktree", middle)
    rows += executed.rows("executed runner", middle) + bare.rows("bare Python that imports anthropic", middle)
    finish("first_request", rows, options.json)


if __name__ == "__main__":
    main()
