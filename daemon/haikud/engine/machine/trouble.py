"""The faults that last: which there are, since when, what they hold up, and what the log is told of them.

Two sorts. A fault of the machine (the spool's disk is full, no process can be started) holds all new work: no request
is taken and no attempt started until an examination says that it is over. Any other fault belongs to the one step or
task where it was met; that is tried again every few seconds while everything else goes on. Which of the two a failure
is, an examination of the machine tells, not the error: a step that was refused names a suspect.

The log is told when a fault begins, when it ends and after how long, and once every ten minutes in between. Nothing
here does I/O but `say`, which is only called by `tell`; `guard` and `note` may be called from any thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from haikud.contracts.base import utc_now
from haikud.contracts.live import EnvironmentFault, FaultKind
from haikud.engine.log_levels import Alarm, Warn
from haikud.engine.machine.faults import CURES, FAULTS, FOR_ALL, OF_OUR_PROCESS, OF_THE_MACHINE, describe, kind_of

RETRY_SECONDS = 3.0
"""How long something that failed is left alone before the next try."""

REMIND_SECONDS = 600.0
"""How often the log is reminded of a fault that lasts."""

QUIET_SECONDS = 30.0
"""A fault that comes and goes is said to have begun at most so often."""

FORGET_SECONDS = 60.0
"""A step that failed and was not tried again for so long is no fault any more."""


@dataclass
class _Lasting:
    """One fault."""

    kind: FaultKind
    doing: str
    message: str
    cure: str
    since: float  # monotonic seconds
    since_when: datetime
    holds_work: bool = False
    retry_at: float = 0.0  # when the step, or the examination, is due again
    seen_at: float = 0.0
    ends_at: float | None = None  # by itself
    failures: int = 1
    said_at: float | None = None  # when the log was told last
    last_told: int = field(default=0)  # `failures` then


class Trouble:
    """See the module's head. `clock` gives monotonic seconds."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._say = say
        self._clock = clock
        self._steps: dict[str, _Lasting] = {}  # by what is being done
        self._machine: dict[FaultKind, _Lasting] = {}
        self._suspects: dict[FaultKind, tuple[str, str]] = {}  # kind -> what was being done, what was said
        self._over: deque[str] = deque()  # lines that `tell` has still to say
        self._begun_at: dict[str, float] = {}  # when the beginning of such a fault was last said

    # -- steps that may fail

    @contextmanager
    def guard(self, doing: str, *, once: bool = False) -> Iterator[None]:
        """Run a step of which a failure of the environment is noted and survived; success ends the trouble.

        `once`: nobody will try that very thing again, so that the fault is forgotten after a while.
        """
        try:
            yield
        except FAULTS as error:
            self.note(doing, error, once=once)
        else:
            self.heal(doing)

    @contextmanager
    def apart(self, doing: str) -> Iterator[None]:
        """As `guard`, for one task of many: what concerns only it is noted, what may concern all is raised."""
        try:
            yield
        except FAULTS as error:
            if kind_of(error) in FOR_ALL:
                raise
            self.note(doing, error)
        else:
            self.heal(doing)

    def note(
        self,
        doing: str,
        error: BaseException,
        *,
        cure: str | None = None,
        kind: FaultKind | None = None,
        once: bool = False,
    ) -> None:
        """`doing` failed."""
        kind = kind or kind_of(error)
        message, now = describe(error), self._clock()
        known = self._steps.get(doing)
        if known is None or known.kind is not kind:
            known = _Lasting(kind, doing, message, cure or CURES[kind], now, utc_now())
            self._steps[doing] = known
        else:
            known.failures += 1
        known.message, known.seen_at, known.retry_at = message, now, now + RETRY_SECONDS
        known.ends_at = now + FORGET_SECONDS if once else None
        if kind in OF_OUR_PROCESS:
            self._begin(kind, doing, message)
        elif kind in OF_THE_MACHINE:
            self._suspects.setdefault(kind, (doing, message))
            if kind in self._machine:
                self._machine[kind].failures += 1

    def heal(self, doing: str) -> None:
        """`doing` works (again)."""
        ended = self._steps.pop(doing, None)
        if ended is not None:
            self._end(ended)

    def must_wait(self, doing: str) -> bool:
        """Whether `doing` failed so lately that it is not tried again yet."""
        known = self._steps.get(doing)
        return known is not None and self._clock() < known.retry_at

    def mention(
        self, kind: FaultKind, doing: str, message: str, *, seconds: float | None = None, cure: str | None = None
    ) -> None:
        """Something that should be known and that is not tried again here, until `heal(doing)` or for some seconds."""
        now = self._clock()
        fault = self._steps.get(doing)
        if fault is None or fault.kind is not kind:
            fault = self._steps[doing] = _Lasting(kind, doing, message, "", now, utc_now(), retry_at=now)
        fault.cure = cure or CURES[kind]
        fault.message, fault.seen_at = message, now
        fault.ends_at = now + seconds if seconds is not None else float("inf")

    # -- the machine

    @property
    def holds_work(self) -> bool:
        """Whether no request may be taken and no attempt started: a fault of the machine, or one that is suspected."""
        return bool(self._machine or self._suspects)

    def lasts(self, kind: FaultKind) -> bool:
        """Whether the machine has that fault."""
        return kind in self._machine

    def to_examine(self) -> list[FaultKind]:
        """The kinds that are suspected, and those that last and may be over by now."""
        now = self._clock()
        due = [kind for kind, fault in self._machine.copy().items() if fault.retry_at <= now]
        return list(dict.fromkeys([*self._suspects.copy(), *due]))

    def found(self, kind: FaultKind, message: str | None, doing: str = "") -> None:
        """What an examination found: what the machine refuses, or None where it does not."""
        suspected = self._suspects.pop(kind, None)
        if message is not None:
            self._begin(kind, doing or (suspected[0] if suspected else ""), message)
            return
        ended = self._machine.pop(kind, None)
        if ended is None:
            return
        self._end(ended)
        for name, step in list(self._steps.items()):
            if step.kind is kind:  # what it had kept from working is tried again at once, and shown if it still fails
                step.retry_at = 0.0
                if step.said_at is None:
                    self._steps.pop(name, None)

    def _begin(self, kind: FaultKind, doing: str, message: str) -> None:
        now = self._clock()
        known = self._machine.get(kind)
        if known is None:
            known = _Lasting(kind, doing, message, CURES[kind], now, utc_now(), holds_work=True)
            self._machine[kind] = known
        else:
            known.failures += 1
            known.message = message
        known.retry_at = now + RETRY_SECONDS

    # -- what people are told

    def faults(self) -> list[EnvironmentFault]:
        """What is wrong now, for status.json: what holds all work first."""
        return [
            EnvironmentFault(
                kind=one.kind,
                doing=one.doing,
                message=one.message,
                cure=one.cure,
                since=one.since_when,
                holds_work=one.holds_work,
            )
            for one in self._shown()
        ]

    @property
    def texts(self) -> list[str]:
        """The same in one line each."""
        return [_line(one) for one in self._shown()]

    @property
    def lasts_anything(self) -> bool:
        """Whether anything is to be tried again."""
        return self.holds_work or any(step.retry_at > step.since for step in list(self._steps.values()))

    def next_try(self) -> float | None:
        """When something is to be tried or examined again, monotonic seconds."""
        now = self._clock()
        if self._suspects:
            return now
        steps = [step.retry_at for step in list(self._steps.values()) if step.retry_at > now]
        return min([*steps, *(fault.retry_at for fault in list(self._machine.values()))], default=None)

    def tell(self) -> None:
        """Say what has begun, what has ended, and what still lasts. Only in the loop's thread."""
        if not (self._steps or self._machine or self._over):
            return
        now = self._clock()
        for doing, step in list(self._steps.items()):
            if step.ends_at is None and step.seen_at + FORGET_SECONDS + RETRY_SECONDS < now and not self.holds_work:
                step.ends_at = now
            if step.ends_at is not None and step.ends_at <= now:
                del self._steps[doing]
                self._end(step)
        while self._over:
            self._say(self._over.popleft())
        if not self._suspects:  # an examination is due first: it may show what is behind it all
            for fault in self._shown():
                self._tell_of(fault, now)

    def _tell_of(self, fault: _Lasting, now: float) -> None:
        if fault.said_at is None:
            key = f"{fault.kind} {fault.doing}"
            if now - self._begun_at.get(key, float("-inf")) < QUIET_SECONDS:
                return
            self._begun_at[key] = now
            held = "; no work is taken until it is over" if fault.holds_work else ""
            grave = Alarm if fault.holds_work else Warn
            self._say(grave(f"fault: {_line(fault)}{held}; {fault.cure}"))
        elif now - fault.said_at >= REMIND_SECONDS:
            tries = fault.failures - fault.last_told
            self._say(Warn(f"fault for {_span(now - fault.since)}, {tries} more times: {_line(fault)}"))
        else:
            return
        fault.said_at, fault.last_told = now, fault.failures

    def _end(self, fault: _Lasting) -> None:
        if fault.said_at is not None:
            self._over.append(f"over after {_span(self._clock() - fault.since)}: {fault.kind}: {fault.doing}")

    def _shown(self) -> list[_Lasting]:
        """The machine's faults, and those of single steps that none of these explains."""
        steps = (step for step in list(self._steps.values()) if step.kind not in self._machine)
        return [*self._machine.copy().values(), *sorted(steps, key=lambda step: step.doing)]


def _line(fault: _Lasting) -> str:
    return f"{fault.kind}: {fault.doing}: {fault.message}" if fault.doing else f"{fault.kind}: {fault.message}"


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
