"""Many built-in agents at once: memory, the daemon's event loop, processor time while they wait, fairness.

Run, at the top of a checkout: python -m benchmarks.agents [--agents 200] [--wait 45] [--turns 4] [--json FILE]

One plan for each agent, dropped as fast as can be, in a role with `workspace: none` (`--worktrees`: with a worktree
each), on one daemon that may run them all. A scripted Messages API on loopback lets each wait for its first answer
until all wait, and for a second before each further one. Memory is looked at while all wait: `private` is what the
kernel says that no other process has (smaps_rollup), `in all` the sum of PSS, in which each shared page counts once, of
the daemon, its forkserver, its gateway and all runners. A timer in the daemon's own loop, put there by the benchmark
alone, says a hundred times a second how much later than due it was called; `processor given`
is the same without the time that the daemon was ready to run and others had the processors (schedstat), which on a busy
machine is nearly all of it. `turns when half are done` shows whether
some agents are served at the cost of others.

What it does not show: agents that run tools or tests (each of those is a process), long conversations, TLS to the real
API. The scripted API runs on the same processors.
"""

from __future__ import annotations

import re
import struct
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from benchmarks.figures import Row, arguments, finish, percentile, private_megabytes, ready_house, say
from tests.support.house import SOURCE, House
from tests.support.scripts import DONE, conversation, scenario
from tests.support.waiting import wait_until

from haikud.offline.scenario import parse_scenario
from haikud.offline.server import ScriptedApi

SECONDS_A_TURN = 1.0
REST_SECONDS = 5.0

ROLE = """---
name: waiter
description: Waits for the model.
workspace: none
---
Do the task.
"""

PROBE = """
import sys
if "haikud.interfaces" in sys.orig_argv and "run" in sys.orig_argv:
    import asyncio, struct, time

    run = asyncio.run

    def queued():
        with open("/proc/thread-self/schedstat") as told:
            return int(told.read().split()[1]) / 1e9

    def probed(main, **more):
        async def tick():
            with open({file!r}, "wb") as kept:
                while True:
                    due, waited = time.monotonic() + 0.01, queued()
                    await asyncio.sleep(0.01)
                    now = time.monotonic()
                    kept.write(struct.pack("ddd", now, max(0.0, now - due), queued() - waited))

        async def both():
            ticking = asyncio.create_task(tick())
            try:
                return await main
            finally:
                ticking.cancel()

        return run(both(), **more)

    asyncio.run = probed
"""

_TITLE = re.compile(r"Task: Agent (\d+)\b")


@dataclass
class Seen:
    """What was measured."""

    began: float = 0.0
    all_wait: float = 0.0  # when the last one's first request had come, in seconds of the monotonic clock
    ended: float = 0.0
    open_at_once: int = 0
    private: list[float] = field(default_factory=list)  # of runners, in MB
    pss: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)  # at rest: milliseconds a second
    wakes: float = 0.0  # of a runner at rest, each second
    turns: list[int] = field(default_factory=list)  # of each agent, when half of all were done
    spans: list[float] = field(default_factory=list)  # from an agent's first request to its last, in seconds
    answered: int = 0


def measure(house: House, api: ScriptedApi, agents: int, turns: int, role: str | None) -> Seen:
    """Drop, wait, look, wait for the answers."""
    seen = Seen(began=time.monotonic())
    more = {"role": role} if role else {}
    for number in range(agents):
        house.request(f"agent-{number}", title=f"Agent {number}", **more)
    say(f"{agents} plans dropped")
    wait_until(lambda: len(api.journal) >= agents, seconds=300, what="the first request of each", pause=0.02)
    seen.all_wait = time.monotonic()
    seen.open_at_once = sum(not one.finished for one in api.journal)
    say(f"{seen.open_at_once} calls open after {seen.all_wait - seen.began:.1f} s")
    _look_at_rest(house, agents, seen)
    first: dict[int, float] = {}
    last: dict[int, float] = {}
    known = 0

    def is_done() -> bool:
        nonlocal known
        calls = [call for call in api.journal if call.body is not None]  # without, it is still coming in
        for call in calls[known:]:
            agent, now = _agent_of(call.body), time.monotonic()
            first.setdefault(agent, now)
            last[agent] = now
        known = len(calls)
        if not seen.turns and known >= agents * turns / 2:
            counted = Counter(_agent_of(call.body) for call in calls)
            seen.turns = [counted[agent] for agent in range(agents)]
        seen.answered = len(list((house.spool / "responses").glob("agent-*.json")))
        return seen.answered >= agents

    wait_until(is_done, seconds=600, what=lambda: f"all answers; {seen.answered} are there", pause=0.02)
    seen.ended = time.monotonic()
    seen.spans = [last[agent] - first[agent] for agent in range(agents)]
    good = sum(_status(house, f"agent-{number}") == "success" for number in range(agents))
    say(f"{good} of {agents} succeeded after {seen.ended - seen.began:.1f} s")
    seen.answered = good
    return seen


def _agent_of(body: Any) -> int:
    found = _TITLE.search(str(body["messages"][0]["content"]))
    assert found is not None
    return int(found[1])


def _status(house: House, name: str) -> str:
    response = house.read(f"responses/{name}.json")
    return str(response["status"]) if response else ""


def _look_at_rest(house: House, agents: int, seen: Seen) -> None:
    """Memory and processor time while all wait."""
    time.sleep(1.0)  # what their start has set in motion
    runners = [psutil.Process(house.runner_pid(f"agent-{number}")) for number in range(agents)]
    assert house.process is not None
    daemon = psutil.Process(house.process.pid)
    others = {"daemon": daemon, "gateway": house.gateways()[0]}

    forkserver = next(one for one in daemon.children() if "forkserver" in " ".join(one.cmdline()))
    others["forkserver"] = forkserver
    began, before = time.monotonic(), {one.pid: _spent(one) for one in [*others.values(), *runners]}
    time.sleep(REST_SECONDS)
    took = time.monotonic() - began
    after = {pid: _spent(psutil.Process(pid)) for pid in before}
    cost = {pid: (after[pid][0] - before[pid][0]) / took for pid in before}
    seen.cpu = {name: cost[one.pid] * 1000 for name, one in others.items()}
    seen.cpu["runner"] = sum(cost[one.pid] for one in runners) / agents * 1000
    seen.wakes = sum(after[one.pid][1] - before[one.pid][1] for one in runners) / agents / took
    seen.private = [private_megabytes(one.pid) for one in runners]
    seen.pss = {name: _pss(one.pid) for name, one in others.items()}
    seen.pss["runners"] = sum(_pss(one.pid) for one in runners)


def _spent(process: psutil.Process) -> tuple[float, int]:
    """Seconds on a processor, and how often it went to sleep."""
    ran = Path(f"/proc/{process.pid}/schedstat").read_text(encoding="ascii").split()[0]
    return int(ran) / 1e9, process.num_ctx_switches().voluntary


def _pss(pid: int) -> float:
    """Megabytes; a page that so many processes share counts as that part of it."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def delays(file: Path, since: float, until: float) -> list[tuple[float, float]]:
    """How late the daemon's loop was in that time, and how much of that was no wait for a processor; milliseconds."""
    data = file.read_bytes()
    looks = struct.iter_unpack("ddd", data[: len(data) // 24 * 24])
    found = [(late * 1000, max(0.0, late - queued) * 1000) for at, late, queued in looks if since <= at <= until]
    return found or [(0.0, 0.0)]


def rows_of(seen: Seen, lags: Path, agents: int) -> list[Row]:
    """What is told."""
    looks = delays(lags, seen.began, seen.ended)
    late, own = [late for late, _ in looks], [own for _, own in looks]
    resting = [late for late, _ in delays(lags, seen.all_wait + 1.0, seen.all_wait + 1.0 + REST_SECONDS)]
    note = f"{agents} agents, scripted API"
    turns = f"{min(seen.turns)} to {max(seen.turns)}"
    return [
        Row("calls open at once", float(seen.open_at_once), "", note),
        Row("all wait after", seen.all_wait - seen.began, "s", "from the first rename to the last first request"),
        Row("private memory of an agent", percentile(seen.private, 0.5), "MB", f"at most {max(seen.private):.1f} MB"),
        Row("private memory of all agents", sum(seen.private), "MB", note),
        Row("memory in all", sum(seen.pss.values()), "MB", _parts(seen.pss)),
        Row(
            "loop delay p50", percentile(late, 0.5), "ms", f"{len(late)} looks from the first rename to the last answer"
        ),
        Row("loop delay p99", percentile(late, 0.99), "ms", f"at most {max(late):.0f} ms"),
        Row("loop delay p99, processor given", percentile(own, 0.99), "ms", f"at most {max(own):.0f} ms"),
        Row("loop delay p99 at rest", percentile(resting, 0.99), "ms", "while all wait"),
        Row("an agent at rest", seen.cpu["runner"], "ms of CPU a second", f"{seen.wakes:.2f} wake-ups a second"),
        Row("the daemon meanwhile", seen.cpu["daemon"], "ms of CPU a second", "the look of the probe included"),
        Row("turns when half are done, fewest", float(min(seen.turns)), "", f"{turns} of each agent"),
        Row(
            "an agent's turns took, p50",
            percentile(seen.spans, 0.5),
            "s",
            f"{min(seen.spans):.1f} to {max(seen.spans):.1f}",
        ),
        Row("succeeded", float(seen.answered), "", f"of {agents}"),
    ]


def _parts(pss: dict[str, float]) -> str:
    return ", ".join(f"{name} {megabytes:.0f}" for name, megabytes in pss.items())


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("--agents", type=int, default=200)
    parser.add_argument("--wait", type=float, default=45.0, help="seconds that each first call is open")
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--worktrees", action="store_true")
    options = parser.parse_args()
    wait = {"kind": "delay", "delay_seconds": options.wait}
    short = {"kind": "delay", "delay_seconds": SECONDS_A_TURN}
    go_on = {"tools": [{"name": "report_progress", "input": {"percent": 50, "message": "waiting"}}]}
    steps: list[dict[str, Any]] = [
        {**go_on, "fault": wait},
        *[{**go_on, "fault": short}] * (options.turns - 2),
        {**DONE, "fault": short},
    ]
    with (
        tempfile.TemporaryDirectory(prefix="haikud-agents-") as place,
        ScriptedApi(parse_scenario(scenario(conversation(*steps)))) as api,
    ):
        folder, lags = Path(place), Path(place) / "lags"
        (folder / "sitecustomize.py").write_text(PROBE.format(file=str(lags)), encoding="utf-8")
        settings: dict[str, Any] = {
            "max_agents": options.agents,
            "api": {"max_calls": max(64, options.agents), "stall_seconds": options.wait + 60.0},
        }
        environment = {
            "ANTHROPIC_API_KEY": "sk-ant-scripted-1",
            "ANTHROPIC_BASE_URL": api.base_url,
            "PYTHONPATH": f"{folder}:{SOURCE}",
        }
        house = ready_house(folder / "house", settings, environment)
        try:
            (house.roles / "waiter.md").write_text(ROLE, encoding="utf-8")
            seen = measure(house, api, options.agents, options.turns, None if options.worktrees else "waiter")
        except BaseException:
            sys.stderr.write(house.tail() + "\n")
            raise
        finally:
            house.close()
        rows = rows_of(seen, lags, options.agents)
    finish("agents", rows, options.json)


if __name__ == "__main__":
    main()
