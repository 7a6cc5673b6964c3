"""What the engine needs of a launcher. Nothing about pids or hosts leaks above this line, but for showing them.

The contract: `start` is idempotent by attempt name (`REF.N`); a launcher never retries, only the engine makes N+1; one
`poll` answers for all attempts; after an end as `lost` or `unknown` a successor waits `fence_seconds`. A launcher never
judges an end: whether the attempt left a result is for settlement to see, under the claim.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol


class EndKind(StrEnum):
    """What is known of an attempt's end."""

    EXITED = "exited"  # the runner is gone; `code` where it was our child
    NOT_STARTED = "not_started"  # it could not be started at all
    NEVER_LAUNCHED = "never_launched"  # the daemon died after it had decided to start it, and before it tried
    LOST = "lost"  # the host is gone
    UNKNOWN = "unknown"  # there is no record


@dataclass(frozen=True)
class End:
    """How a runner ended, as far as its launcher knows."""

    kind: EndKind
    code: int | None = None  # negative: died of that signal; None: not our child, so not known
    why: str = ""  # where it could not be started
    refused: bool = False  # the machine refused it: no process, no descriptor, no memory, no room
    place: str | None = None  # where those that it left running are to be looked for too, as its launcher calls it

    def describe(self) -> str:
        """What became of the runner, in words."""
        if self.kind is EndKind.NOT_STARTED:
            return f"the runner could not be started: {self.why}"
        if self.kind is EndKind.NEVER_LAUNCHED:
            return "the daemon ended before it had started the runner"
        if self.kind is EndKind.LOST:
            return "the runner's host is gone"
        if self.kind is EndKind.UNKNOWN:
            return "there is no record of the runner"
        if self.code is None:
            return "the runner is gone"
        return f"the runner died of signal {-self.code}" if self.code < 0 else f"the runner exited with {self.code}"


@dataclass(frozen=True)
class LaunchOrder:
    """One attempt to start."""

    ref: str
    attempt: int
    folder: Path  # attempt-N
    log: Path  # agent.log, appended to
    environment: dict[str, str] = field(default_factory=dict)  # all of it
    key: str | None = field(default=None, repr=False)  # the API key, handed over by a descriptor
    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)  # GitHub's, handed over with it
    given: Mapping[str, str] = field(default_factory=dict, repr=False)  # secrets.names, by name; the same way
    masked: Mapping[str, str] = field(default_factory=dict, repr=False)  # secret -> what to call it in its place

    @property
    def name(self) -> str:
        """REF.N."""
        return attempt_name(self.ref, self.attempt)


@dataclass(frozen=True)
class Handle:
    """A runner that was started or adopted."""

    name: str
    pid: int | None = None  # to show; None: not known (yet), or not of this machine


class LaunchFailed(RuntimeError):  # noqa: N818 - reads as what it is
    """The runner could not be started; nothing runs. `__cause__`: what the machine refused, if it was that."""


class Launcher(Protocol):
    """Starts runners and tells of their ends. All methods belong to the event loop's thread; none holds it up."""

    capacity: int | None  # how many attempts at most; None: as many as the settings say
    fence_seconds: float  # that a successor waits after `lost` and `unknown`

    def begin(self) -> None:
        """The daemon has taken up its spool: have ready what makes a start quick."""
        ...

    async def start(self, order: LaunchOrder) -> Handle:
        """Start a runner. Raises LaunchFailed."""
        ...

    def adopt(self, name: str, folder: Path) -> Handle | None:
        """The handle of a runner that an earlier daemon started; None where its claim is free."""
        ...

    def poll(self) -> dict[str, End]:
        """The ends since the last call, by attempt name. The launcher calls the engine's `wake` when there are any."""
        ...

    def terminate(self, name: str, *, force: bool = False) -> None:
        """TERM to the runner (KILL with `force`); nothing where it is gone."""
        ...

    def pid_of(self, ref: str, attempt: int) -> int | None:
        """The runner's pid, to show: an adopted one may name itself late."""
        ...

    def close(self) -> None:
        """Let go of everything; runners go on."""
        ...


def attempt_name(ref: str, attempt: int) -> str:
    """REF.N: how an attempt is called."""
    return f"{ref}.{attempt}"
