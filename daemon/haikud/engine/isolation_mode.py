"""Which sandbox mode attempts run in: found by trying it, once, and again where the settings change or nothing works.

What the settings name is used or nothing is run: `auto` may come down to Landlock, said with the reason and the cure,
and never to `none`, which only the settings can say. While no mode works tasks stay queued, a fault says why, and it is
tried again now and then. A try runs a command or two, in a thread; no exit waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from haikud.contracts.live import FaultKind
from haikud.contracts.settings import SandboxSettings
from haikud.engine.engine import Engine
from haikud.engine.log_levels import Warn
from haikud.engine.machine.faults import FAULTS
from haikud.sandbox.probe import Probed, probe

DOING = "putting up the sandbox"

AGAIN_SECONDS = 30.0
"""How often it is tried again while nothing works."""

UNHELD = (
    "sandbox none, as the settings say: commands that models and plans choose are held back by nothing (SECURITY.md)"
)


@dataclass
class IsolationMode:
    """Finds the mode for one engine, and says it."""

    engine: Engine
    find: Callable[[str, SandboxSettings], Probed] = probe
    _for: SandboxSettings | None = None  # what was tried last
    _again_at: float = 0.0
    _trying: asyncio.Task[Probed] | None = None

    def look(self) -> None:
        """Begin to try what has to be tried, and take up what was found. Waits for nothing."""
        engine = self.engine
        wanted = engine.settings.sandbox
        if self._trying is not None:
            if not self._trying.done():
                return
            tried, self._trying = self._trying, None
            try:
                self._found(wanted, tried.result())
            except FAULTS as error:  # the machine refuses even a thread
                engine.trouble.note(DOING, error)
                self._again_at = engine.clock() + AGAIN_SECONDS
            return
        if wanted == self._for and (engine.sandbox is not None or engine.clock() < self._again_at):
            return
        if wanted != self._for:
            engine.sandbox, engine.sandbox_is_known = None, False
        self._for = wanted
        if wanted.mode == "none":
            self._found(wanted, Probed("none"))
            return
        self._trying = asyncio.get_running_loop().create_task(engine.aside(self.find, wanted.mode, wanted))
        self._trying.add_done_callback(lambda _: engine.wake.set())

    def seconds_left(self) -> float | None:
        """Until it is tried again; None where nothing is due by itself."""
        if self._trying is not None or self.engine.sandbox is not None:
            return None
        return max(0.0, self._again_at - self.engine.clock())

    def close(self) -> None:
        """Wait for nothing any more."""
        if self._trying is not None:
            self._trying.cancel()

    def _found(self, wanted: SandboxSettings, found: Probed) -> None:
        engine = self.engine
        if wanted != self._for:
            return  # the settings were changed meanwhile: it is tried anew
        engine.sandbox, engine.sandbox_is_known = found.mode, True
        why, cure = "; ".join(found.reasons), "; ".join(found.cures)
        if found.mode is None:
            self._again_at = engine.clock() + AGAIN_SECONDS
            cure = f"{cure or 'see haikud doctor'}; or `sandbox: {{mode: none}}`, which holds nothing back"
            engine.trouble.mention(
                FaultKind.NO_SANDBOX, DOING, f"no sandbox that the settings allow works here: {why}", cure=cure
            )
            return
        engine.trouble.heal(DOING)
        if found.mode == "none":
            engine.say(Warn(UNHELD))
        elif found.reasons:
            engine.say(Warn(f"sandbox {found.mode} ({why}; to have it: {cure or 'see haikud doctor'})"))
        else:
            engine.say(f"sandbox {found.mode}")
