"""What the gateway itself costs: time to the first byte, time per event, calls a second, memory with 100 streams.

Run, at the top of a checkout: python -m benchmarks.gateway [--calls 300] [--json FILE]

The real gateway process, with its journal on disk, between a client and the scripted Messages API in a process of its
own; the same calls straight to that API, in turns with the others, call by call. Its answers pause for 30 ms after
their first events, as a model's do: else their end would be part of their beginning. Two ways lead through the gateway:
its unix socket, which runners use, and loopback. The body is that of a small agent's turn (about 20 KB).

What it does not show: a real API, beside whose hundreds of milliseconds all of this vanishes; TLS, which the gateway
speaks to it instead of the client; several agents' own processor time on the same cores.
"""

from __future__ import annotations

import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from benchmarks.figures import Row, arguments, finish, percentile
from tests.support.gateway_process import GatewayProcess
from tests.support.waiting import wait_until

from haikud.spool.daemon_lock import hold_daemon_lock

MODEL = "claude-haiku-5-5"
STREAMS = 100

CALL = {"name": "bash", "input": {"command": "python3 -m pytest -q tests/test_pages.py"}}

PAUSE = {"kind": "stall", "after_events": 4, "seconds": 0.03, "times": None}

SCENARIO: dict[str, Any] = {
    "name": "benchmark",
    "conversations": [
        {"match": {"first_message": "stay"}, "turns": [{"text": "word " * 400, "fault": None}]},
        {"match": {"first_message": "long"}, "turns": [{"tools": [CALL] * 200}]},
        {"match": {"first_message": "quick"}, "turns": [{"text": "word " * 40}]},
        {
            "turns": [
                {"text": "word " * 40, "fault": {"kind": "stall", "after_events": 4, "seconds": 0.03, "times": None}}
            ]
        },
    ],
}
SCENARIO["conversations"][0]["turns"][0]["fault"] = {"kind": "stall", "after_events": 20, "seconds": 20, "times": None}


@dataclass(frozen=True)
class Way:
    """How to reach the API."""

    name: str
    session: aiohttp.ClientSession
    base: str
    key: str

    async def stream(self, words: str, *, stop_after: int | None = None) -> tuple[float, float, int]:
        """One streamed call: seconds to the first byte of the answer, seconds in all, how many events came."""
        began = time.perf_counter()
        first, events = 0.0, 0
        headers = {"x-api-key": self.key, "anthropic-version": "2023-06-01"}
        async with self.session.post(f"{self.base}/v1/messages", json=body(words), headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            async for chunk in answer.content.iter_any():
                first = first or time.perf_counter() - began
                events += chunk.count(b"\ndata: ")
                if stop_after is not None and events >= stop_after:
                    break
        return first, time.perf_counter() - began, events


def body(words: str) -> dict[str, Any]:
    """A request as a small agent's turn is."""
    history = "x = compute(y)  # a line of a file that was read\n" * 400
    return {
        "model": MODEL,
        "max_tokens": 16_000,
        "stream": True,
        "system": "You are an agent.",
        "messages": [{"role": "user", "content": f"{words}\n{history}"}],
    }


async def first_bytes(ways: list[Way], calls: int) -> list[Row]:
    """One call after the other, the ways in turns."""
    taken: dict[str, list[float]] = {way.name: [] for way in ways}
    for _ in range(calls):
        for way in ways:
            taken[way.name].append((await way.stream("short"))[0])
    direct = statistics.median(taken[ways[0].name])
    rows = []
    for name, seconds in taken.items():
        rows += [
            Row(name, statistics.median(seconds) * 1000, "ms", column="first byte, p50"),
            Row(name, percentile(seconds, 0.95) * 1000, "ms", column="p95"),
            Row(name, (statistics.median(seconds) - direct) * 1000, "ms", column="p50 above direct"),
        ]
    return rows


async def per_event(ways: list[Way], calls: int) -> list[Row]:
    """Long answers, as fast as they come."""
    taken: dict[str, list[float]] = {way.name: [] for way in ways}
    for _ in range(max(5, calls // 20)):
        for way in ways:
            first, whole, events = await way.stream("long")
            taken[way.name].append((whole - first) / events)
    return [Row(name, statistics.median(each) * 1e6, "us", column="each event") for name, each in taken.items()]


async def throughput(ways: list[Way], seconds: float) -> list[Row]:
    """Sixteen clients that call as fast as they are answered."""
    rows = []
    for way in ways:
        made, end = 0, time.perf_counter() + seconds

        async def client(way: Way = way, end: float = end) -> int:
            count = 0
            while time.perf_counter() < end:
                await way.stream("quick")
                count += 1
            return count

        made = sum(await asyncio.gather(*(client() for _ in range(16))))
        rows.append(Row(way.name, made / seconds, "/s", column="calls, 16 at once"))
    return rows


async def memory(way: Way, pid: int) -> list[Row]:
    """Streams that have begun and not ended."""
    before = resident(pid)
    waiting = [asyncio.create_task(way.stream("stay")) for _ in range(STREAMS)]
    await asyncio.sleep(8)
    rows = [
        Row("memory of the gateway", before, "MB"),
        Row(f"memory of the gateway with {STREAMS} streams at once", resident(pid), "MB"),
    ]
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    return rows


def resident(pid: int) -> float:
    """MB of a process that are in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def compare(gateway: GatewayProcess, api: str, calls: int) -> list[Row]:
    """All of it."""
    assert gateway.process is not None
    key = gateway.token("bench", task_usd=1e6, plan_usd=1e6, day_usd=1e6)
    everything = aiohttp.TCPConnector(limit=0)
    by_socket = aiohttp.UnixConnector(str(gateway.socket), limit=0)
    async with aiohttp.ClientSession(connector=everything) as tcp, aiohttp.ClientSession(connector=by_socket) as unix:
        ways = [
            Way("direct", tcp, api, "sk-ant-made-up"),
            Way("gateway, unix socket", unix, "http://gateway", key),
            Way("gateway, loopback", tcp, gateway.base_url, key),
        ]
        for way in ways:
            await way.stream("short")
        rows = await first_bytes(ways, calls)
        rows += await per_event(ways, calls)
        rows += await throughput(ways, 4.0)
        return rows + await memory(ways[1], gateway.process.pid)


def with_api(folder: Path, run: Callable[[str], None]) -> None:
    """Run something while the scripted API serves, in a process of its own; it gets its URL."""
    scenario, port = folder / "scenario.yaml", folder / "port"
    scenario.write_text(yaml.safe_dump(SCENARIO), encoding="utf-8")
    command = [sys.executable, "-m", "haikud.offline", str(scenario), "--port-file", str(port)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(port.exists, what="the scripted API")
            run(f"http://127.0.0.1:{port.read_text().strip()}")
        finally:
            process.terminate()


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__)
    parser.add_argument("--calls", type=int, default=300)
    options = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def run(api: str) -> None:
            started = GatewayProcess(folder / "spool", api, max_calls=256, stall_seconds=60.0)
            with started as gateway, hold_daemon_lock(gateway.layout), socket.socket(socket.AF_UNIX) as daemon:
                daemon.connect(str(gateway.layout.gateway.daemon))  # without a daemon it ends soon
                rows.extend(asyncio.run(compare(gateway, api, options.calls)))

        with_api(folder, run)
    finish("gateway", rows, options.json)


if __name__ == "__main__":
    main()
