"""The tool `bash` (bash_20250124): each call is one fresh `bash -c`; the directory is carried over to the next.

Promises: a command's output goes to the log as it comes; the model gets its head and tail and is told where the whole
is (overflow.py), the exit code, a timeout and what the command had left running (which is ended). The directory that
the command ended in is read from a file in HAIKUD_OUT, which the command could have forged: it is used only where it is
a folder beneath the worktree.
Fails with TreeStillAlive where a command's processes cannot be ended, and with CannotStart where the machine has no
room for another process; every other failure is a result for the model.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from haikud.agent.events import EventLog
from haikud.agent.haiku.tools.outcome import ToolOutcome, required_text
from haikud.agent.haiku.tools.overflow import FullOutputs, Output
from haikud.agent.life import SignsOfLife
from haikud.contracts.settings import LimitSettings, MonitorSettings
from haikud.sandbox.commands import CannotStart, Ended
from haikud.sandbox.isolation import Sandbox
from haikud.spool.agent_log import AgentLog
from haikud.spool.reading import UntrustedFile, read_untrusted
from haikud.spool.refusals import refused_by_machine

_CWD_FILE = ".cwd"
_MOST_PATH_BYTES = 4096


@dataclass(frozen=True)
class Shell:
    """What a command runs in."""

    worktree: Path
    environment: Mapping[str, str]
    limits: LimitSettings
    sandbox: Sandbox
    log: AgentLog
    events: EventLog
    stop: Callable[[], bool]
    monitors: MonitorSettings = field(default_factory=lambda: MonitorSettings.model_validate({}))
    test_command: str | None = None


class BashTool:
    """The shell of one session. Only the directory outlives a call."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._cwd = shell.worktree
        out = shell.environment.get("HAIKUD_OUT")
        self._cwd_file = Path(out) / _CWD_FILE if out else None
        most = shell.limits.full_output_bytes
        self._full = FullOutputs(Path(out), most) if out and most else None

    def use(self, given: Mapping[str, Any]) -> ToolOutcome:
        """Run `command`, or go back to the worktree with `restart`."""
        if given.get("restart") and not given.get("command"):
            self._cwd = self._shell.worktree
            return ToolOutcome(f"The shell was restarted in {self._cwd}.")
        command = required_text(given, "command")
        notes = self._check_cwd()
        try:
            ended, output = self._run(command)
        except CannotStart as error:
            if refused_by_machine(error):
                raise
            return ToolOutcome(f"{error}\nWrite long text with the editor tool, not in a command.", is_error=True)
        notes += self._carry_over()
        return _told(ended, output, notes, self._shell.limits.tool_seconds)

    def close(self) -> None:
        """The session is over."""
        if self._full is not None:
            self._full.close()

    def _run(self, command: str) -> tuple[Ended, str]:
        shell, kept = self._shell, Output(self._shell.limits.tool_output_bytes, self._full)
        limit = shell.limits.tool_seconds + shell.limits.grace_seconds

        def take(data: bytes) -> None:
            shell.log.agent(data, "bash", masked=True)
            kept.add(data)

        script = command
        if self._cwd_file is not None:
            self._cwd_file.unlink(missing_ok=True)
            trap = shlex.quote(f"pwd -P > {shlex.quote(str(self._cwd_file))}")
            script = f"trap {trap} EXIT; {command}"  # on the first line, so that bash's line numbers stay right
        try:
            with kept:
                ended = shell.sandbox.run(
                    ["bash", "-c", script],
                    cwd=self._cwd,
                    env=shell.environment,
                    timeout=shell.limits.tool_seconds,
                    grace=shell.limits.grace_seconds,
                    on_output=take,
                    stop=self._watching(SignsOfLife(shell.events, "a command", shell.monitors, limit)),
                )
        finally:
            shell.log.flush("bash")
        return ended, kept.text()

    def _watching(self, signs: SignsOfLife) -> Callable[[], bool]:
        """The question whether to stop, which gives a sign of life now and then."""

        def stop() -> bool:
            signs.look()
            return self._shell.stop()

        return stop

    def _check_cwd(self) -> list[str]:
        if self._is_ours(self._cwd):
            return []
        gone, self._cwd = self._cwd, self._shell.worktree
        return [f"the directory {gone} is gone: the command ran in {self._cwd}"]

    def _carry_over(self) -> list[str]:
        """Take over the directory that the command ended in."""
        if self._cwd_file is None:
            return []
        try:
            line = read_untrusted(self._cwd_file, _MOST_PATH_BYTES)
        except UntrustedFile:
            return []  # killed, or the command has an EXIT trap of its own: the directory stays
        place = Path(os.fsdecode(line.removesuffix(b"\n")))
        if self._is_ours(place):
            self._cwd = place
            return []
        self._cwd = self._shell.worktree
        return [f"{place} is no folder beneath the worktree: the next command runs in {self._cwd}"]

    def _is_ours(self, place: Path) -> bool:
        try:
            return place.is_dir() and place.resolve().is_relative_to(self._shell.worktree.resolve())
        except (OSError, ValueError, RuntimeError):  # a name too long, a NUL, a loop of symlinks
            return False


def _told(ended: Ended, output: str, notes: list[str], limit: float) -> ToolOutcome:
    """The result as the model reads it."""
    if ended.timed_out:
        notes = [f"not finished after {limit:g} s: the command and all that it had started were ended", *notes]
    elif ended.stopped:
        notes = ["ended before it was finished: the whole attempt is being ended", *notes]
    elif ended.exit_code is not None and ended.exit_code < 0:
        notes = [f"killed by signal {-ended.exit_code}", *notes]
    elif ended.exit_code:
        notes = [f"exit code {ended.exit_code}", *notes]
    if ended.left_running:
        notes.append(f"left running in the background, and ended: {'; '.join(ended.left_running)[:500]}")
    lines = [output.rstrip("\n")] if output.strip() else []
    lines += [f"[{note}]" for note in notes]
    return ToolOutcome(
        "\n".join(lines) or "(no output)",
        is_error=ended.exit_code != 0,
        stopped=ended.stopped,
    )
