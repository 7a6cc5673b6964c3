"""Running the test command on a merge's result: untrusted, as an attempt's tests are.

In a sandbox (walls.py), with a clean environment, a HOME and TMPDIR of its own, a private git folder, the settings'
limits; the whole process tree is ended. A failure is tried once more (the guide: flaky tests once). Fails with OSError
and `CannotStart`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from haikud.contracts.settings import Settings
from haikud.sandbox.commands import Ended, shell
from haikud.sandbox.environment import API_NAMES, git_variables
from haikud.sandbox.isolation import Sandbox
from haikud.sandbox.tool_variables import tool_variables
from haikud.workspace.merge_place import MergePlace

_TAIL_BYTES = 8_192


@dataclass(frozen=True)
class CheckRun:
    """One run of a command on the merged result."""

    what: str  # setup or test
    command: str
    exit_code: int | None
    seconds: float
    timed_out: bool
    tail: str  # the end of its output
    flaky: bool = False  # it failed once, then passed

    @property
    def passed(self) -> bool:
        """Whether it exited with 0."""
        return self.exit_code == 0


def check_result(
    place: MergePlace,
    commands: Sequence[tuple[str, str]],
    environment: Mapping[str, str],
    settings: Settings,
    sandbox: Sandbox,
    hear: Callable[[bytes], None],
    tell: Callable[[str], None],
) -> list[CheckRun]:
    """Run the commands (`setup` or `test`, and the command line), up to the first that does not pass."""
    runs: list[CheckRun] = []
    for what, command in commands:
        run = _run(place, what, command, environment, settings, sandbox, hear, tell)
        if what == "test" and not run.passed and not run.timed_out:
            tell("the tests failed; once more, in case they are flaky")
            again = _run(place, what, command, environment, settings, sandbox, hear, tell)
            run = CheckRun(what, command, again.exit_code, again.seconds, again.timed_out, again.tail, again.passed)
        runs.append(run)
        if not run.passed:
            break
    return runs


def build_environment(
    place: MergePlace,
    variables: Mapping[str, str],
    identity: tuple[str, str],
    settings: Settings,
    host: Mapping[str, str],
) -> dict[str, str]:
    """Built from nothing, as an attempt's: `variables` are the guide's, `host` is our own environment."""
    chosen = {name: host[name] for name in settings.environment.pass_names if name in host}
    chosen |= settings.environment.set_values
    chosen = {name: value for name, value in chosen.items() if name not in settings.secrets.names}
    path = host.get("PATH") or os.defpath
    return {
        **tool_variables(path, Path("~").expanduser(), host),
        "PATH": path,
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "HOME": str(place.home),
        "TMPDIR": str(place.temporary),
        **{name: value for name, value in chosen.items() if name not in API_NAMES},
        **git_variables(identity),
        **{name: value for name, value in variables.items() if value},
        "WORKTREE_PATH": str(place.tree),
        "HAIKUD_OUT": str(place.folder),  # the mark by which its processes are found, also after a kill
    }


def _run(
    place: MergePlace,
    what: str,
    command: str,
    environment: Mapping[str, str],
    settings: Settings,
    sandbox: Sandbox,
    hear: Callable[[bytes], None],
    tell: Callable[[str], None],
) -> CheckRun:
    tail = bytearray()

    def take(data: bytes) -> None:
        hear(data)
        tail.extend(data)
        del tail[:-_TAIL_BYTES]

    limits = settings.limits
    tell(f"running the {what} command on the result: {command}")
    ended = sandbox.run(
        shell(command),
        cwd=place.tree,
        env=environment,
        timeout=limits.test_seconds if what == "test" else limits.setup_seconds,
        grace=limits.grace_seconds / 2,
        on_output=take,
    )
    tell(f"the {what} command: {_how(ended)}, {ended.seconds:.1f} s")
    text = bytes(tail).decode("utf-8", "replace")
    return CheckRun(what, command, ended.exit_code, round(ended.seconds, 3), ended.timed_out, text)


def _how(ended: Ended) -> str:
    return "ended at its time limit" if ended.timed_out else f"exit code {ended.exit_code}"
