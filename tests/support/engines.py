"""An engine made by hand, for tests of its parts: nothing runs, and nobody serves the spool."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from haikud.contracts.base import utc_now
from haikud.contracts.decision import QueueState
from haikud.contracts.settings import Settings
from haikud.engine.day_spend import read_day_spend
from haikud.engine.engine import Engine
from haikud.engine.launchers.local import LocalLauncher
from haikud.engine.machine.trouble import Trouble
from haikud.engine.role_history import RoleHistory
from haikud.engine.secrets import Secrets
from haikud.spool.layout import SpoolLayout
from haikud.spool.store import Store


def made_engine(layout: SpoolLayout, say: Callable[[str], None], *, sandbox: str | None = None) -> Engine:
    """On the running loop; the caller closes it."""
    wake = asyncio.Event()
    return Engine(
        layout=layout,
        settings=Settings(),
        secrets=Secrets(),
        spool_id="a-spool",
        say=say,
        store=Store(layout),
        launcher=LocalLauncher(asyncio.get_running_loop(), wake.set),
        trouble=Trouble(say, time.monotonic),
        queue=QueueState(),
        day=read_day_spend(layout, utc_now()),
        clock=time.monotonic,
        wake=wake,
        holds_spool=lambda: True,
        role_history=RoleHistory(layout.role_history_file),
        sandbox=sandbox,
    )
