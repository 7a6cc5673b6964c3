"""The scripted API as a process: `python -m haikud.offline SCENARIO [--port-file F] [--journal F]`.

SCENARIO is a YAML file or the name of a built-in one. The port file appears, whole, once the port is open. Ends with 0
on TERM or INT, and with `--with-parent` also when the process that started it is gone; 2 for an unusable scenario.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from haikud.offline.application import MessagesApi
from haikud.offline.journal import Journal
from haikud.offline.scenario import Scenario, ScenarioError, load_scenario
from haikud.offline.server import hang_up, listen

PARENT_CHECK_SECONDS = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m haikud.offline", description="A scripted Messages API.")
    parser.add_argument("scenario", help="a YAML file, or the name of a built-in scenario")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="default: one that is free")
    parser.add_argument("--port-file", type=Path, help="gets the port's number once it is open")
    parser.add_argument("--journal", type=Path, help="gets one line of JSON for each exchange")
    parser.add_argument("--with-parent", action="store_true", help="end when the parent process is gone")
    options = parser.parse_args(arguments)
    try:
        scenario = load_scenario(options.scenario)
    except ScenarioError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    try:
        asyncio.run(_serve(scenario, options))
    except OSError as error:
        sys.stderr.write(f"cannot listen on {options.host}:{options.port}: {error}\n")
        return 1
    return 0


async def _serve(scenario: Scenario, options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    api = MessagesApi(scenario, Journal(options.journal))
    runner, port = await listen(api, options.host, options.port)
    sys.stderr.write(f"scripted Messages API ({scenario.name}) on http://{options.host}:{port}; no model is involved\n")
    if options.port_file is not None:
        _write_whole(options.port_file, f"{port}\n")
    watching = asyncio.create_task(_end_with_parent(stop)) if options.with_parent else None
    await stop.wait()
    if watching is not None:
        watching.cancel()
    await hang_up(api, runner)


async def _end_with_parent(stop: asyncio.Event) -> None:
    parent = os.getppid()
    while os.getppid() == parent:  # noqa: ASYNC110 - nothing tells of a parent's end on every kernel
        await asyncio.sleep(PARENT_CHECK_SECONDS)
    stop.set()


def _write_whole(path: Path, text: str) -> None:
    hidden = path.with_name(f".{path.name}.new")
    hidden.write_text(text, encoding="utf-8")
    hidden.replace(path)


if __name__ == "__main__":
    sys.exit(main())
