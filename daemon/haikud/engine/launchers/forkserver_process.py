"""One forkserver, as the daemon has it: its process and socket, its runners and spares, and who awaits an answer."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from dataclasses import dataclass, field

from haikud.contracts.forking import ForkNews
from haikud.engine.launchers.spares import Spares

Answer = tuple[ForkNews, list[int]]
"""With its descriptors, which are the asker's. None comes in its place where the forkserver is lost."""


@dataclass(eq=False)
class Server:
    """See the module's head."""

    process: subprocess.Popen[bytes]
    link: socket.socket
    began: float
    is_ready: bool = False
    is_retired: bool = False
    why: str = "it has ended"  # it is gone, when it is
    asked: dict[int, asyncio.Future[Answer | None]] = field(default_factory=dict)  # by number: who awaits an answer
    spare_news: asyncio.Event = field(default_factory=asyncio.Event)  # one has come, or does not come any more
    runners: set[int] = field(default_factory=set)
    spares: Spares = field(default_factory=Spares)

    def wake_askers(self) -> None:
        """It answers nobody any more."""
        self.spare_news.set()
        for asking in self.asked.values():
            if not asking.done():
                asking.set_result(None)
