"""Attempts with tiny runners, for the launcher's tests: an order, what the runner has seen, how it has ended."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from haikud.engine.launchers.forkserver import ForkserverClient
from haikud.engine.launchers.local import LocalLauncher
from haikud.engine.launchers.protocol import End, LaunchOrder
from haikud.spool.claims import release_claim, take_claim

ENGINE = Path(__file__).resolve().parents[1] / "engine"

TINY = (sys.executable, str(ENGINE / "tiny_runner.py"))


TINY_SERVER = (sys.executable, str(ENGINE / "tiny_forkserver.py"))


class Yard:
    """An attempt folder and a launcher for tiny runners."""

    def __init__(self, folder: Path, *, forks: bool, spares: int = 0, spool_id: str | None = None) -> None:
        self.forks = forks
        self.spares = spares
        self.spool_id = spool_id
        self.said: list[str] = []
        self.watched = folder / "watched.py"
        self.watched.touch()
        self.folder = folder / "attempt-1"
        self.folder.mkdir()
        self.log = folder / "agent.log"
        self.ends: dict[str, End] = {}
        self.launcher = self.another()

    def another(self, argv: tuple[str, ...] = TINY) -> LocalLauncher:
        def on_end() -> None:
            self.ends.update(launcher.poll())

        loop = asyncio.get_running_loop()

        def forkserver(on_code: Callable[[int, int], None]) -> ForkserverClient:
            program = (*TINY_SERVER, "--watched", str(self.watched))
            self.server = ForkserverClient(
                loop,
                {"PATH": os.defpath},
                on_code,
                self.said.append,
                spares=self.spares,
                spool_id=self.spool_id,
                program=program,
            )
            return self.server

        launcher = LocalLauncher(loop, on_end, argv_prefix=argv, forkserver=forkserver if self.forks else None)
        return launcher

    async def begin(self) -> None:
        if self.forks:
            self.launcher.begin()
            await until(lambda: self.server.is_ready and len(self.server.spares) == self.spares)

    async def __aenter__(self) -> Self:
        await self.begin()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.let_end()
        self.launcher.terminate("p.t.1", force=True)
        self.launcher.close()

    def order(self, **fields: Any) -> LaunchOrder:
        given = {"environment": {"PATH": os.defpath}, "key": None, **fields}
        return LaunchOrder("p.t", 1, self.folder, self.log, **given)

    def let_end(self, code: int = 0) -> None:
        (self.folder / "end.tmp").write_text(str(code))
        (self.folder / "end.tmp").rename(self.folder / "end")

    async def seen(self) -> dict[str, Any]:
        await until((self.folder / "seen.json").exists)
        loaded = json.loads((self.folder / "seen.json").read_text())
        assert isinstance(loaded, dict)
        return loaded

    async def ended(self) -> End:
        await until(lambda: "p.t.1" in self.ends)
        return self.ends["p.t.1"]

    def replace_code(self) -> None:
        self.watched.with_suffix(".new").write_text("new = True\n")
        self.watched.with_suffix(".new").rename(self.watched)

    def claim_is_free(self) -> bool:
        claim = take_claim(self.folder / "claim")
        if claim is not None:
            release_claim(claim)
        return claim is not None


async def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(0.01)


def shown(what: str, pid: int | None) -> bytes:
    return Path(f"/proc/{pid}/{what}").read_bytes()


def parent_of(pid: int | None) -> int:
    return int(shown("stat", pid).rpartition(b")")[2].split()[1])
