"""The scripted API as something to start and stop: in a thread of this process, or on an event loop of one's own.

It listens on loopback only, by default on a port that the kernel picks.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

from haikud.offline.application import MessagesApi
from haikud.offline.journal import Exchange, Journal
from haikud.offline.scenario import Fault, Scenario, load_scenario, parse_scenario

SHUTDOWN_SECONDS = 1.0


async def listen(api: MessagesApi, host: str, port: int) -> tuple[web.AppRunner, int]:
    """Start serving on the running loop; the runner (for `hang_up`) and the port."""
    runner = web.AppRunner(api.application(), access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    await site.start()
    return runner, int(runner.addresses[0][1])


async def hang_up(api: MessagesApi, runner: web.AppRunner) -> None:
    """Stop serving: silences end, open streams get a second."""
    api.closing.set()
    await runner.cleanup()


def to_scenario(given: Scenario | Path | str | dict[str, object]) -> Scenario:
    """A scenario from itself, a file, a built-in name or a parsed document; ScenarioError if it is not usable."""
    if isinstance(given, Scenario):
        return given
    return parse_scenario(given) if isinstance(given, dict) else load_scenario(given)


class ScriptedApi:
    """The scripted API in a thread of its own, as a context manager for code that is not asynchronous."""

    def __init__(
        self,
        scenario: Scenario | Path | str | dict[str, object],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        journal_file: Path | None = None,
    ) -> None:
        self._scenario = to_scenario(scenario)
        self._host = host
        self._port = port
        self._journal = Journal(journal_file)
        self._ready = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._api: MessagesApi | None = None
        self._failure: OSError | None = None

    @property
    def base_url(self) -> str:
        """What ANTHROPIC_BASE_URL should be."""
        return f"http://{self._host}:{self._port}"

    @property
    def journal(self) -> list[Exchange]:
        """Every exchange so far, in the order of arrival."""
        return self._journal.exchanges

    def start(self) -> Self:
        """Serve; returns when the port is open. OSError if it cannot be."""
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="scripted-api", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        return self

    def stop(self) -> None:
        """Stop serving; returns when the thread has ended."""
        if self._loop is not None and self._stop is not None and self._thread is not None:
            if self._thread.is_alive():
                self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def inject(self, *faults: Fault) -> None:
        """Let each of these strike one of the next requests, whichever those are; `times` does not count here."""
        if self._loop is None or self._api is None:
            raise RuntimeError("the scripted API has not been started")
        self._loop.call_soon_threadsafe(self._api.injected.extend, faults)

    def wait(self, condition: Callable[[list[Exchange]], bool], *, seconds: float = 30.0) -> list[Exchange]:
        """The finished exchanges as soon as `condition` holds for them; TimeoutError after `seconds`."""
        return self._journal.wait(condition, seconds)

    def wait_for(self, count: int, *, seconds: float = 30.0) -> list[Exchange]:
        """The finished exchanges as soon as there are `count`."""
        return self.wait(lambda exchanges: len(exchanges) >= count, seconds=seconds)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._api = MessagesApi(self._scenario, self._journal)
        try:
            runner, self._port = await listen(self._api, self._host, self._port)
        except OSError as error:
            self._failure = error
            return
        finally:
            self._ready.set()
        await self._stop.wait()
        await hang_up(self._api, runner)
