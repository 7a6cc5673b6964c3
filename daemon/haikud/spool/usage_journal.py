"""The usage journal, `gateway/usage/YYYY-MM-DD.jsonl`: what every model call cost. The gateway alone writes it.

Promises to the writer: a line is in the file, whole or not at all, when `append` returns, and lasts over a power cut
when `sync` has returned; a torn tail that a crash left is cut before the first line is added. To readers: a line that
a bad disk broke is left out, and a call whose end is not there counts as the most that it can cost.

Fails with OSError that names the path. A spool without a journal has no charges.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from haikud.contracts.usage import UsageEntry, UsageTotal
from haikud.contracts.usage_journal import AttemptUsage, CallStep, JournalLine
from haikud.spool.durable import cut_torn_tail, doing, fsync_folder, make_folder, write_all
from haikud.spool.layout import GatewayPaths
from haikud.spool.models import iter_lines, line_as_is


@dataclass(frozen=True)
class Charge:
    """A call that cost something, or may: `line` is its last word."""

    line: JournalLine
    entry: UsageEntry

    @property
    def is_open(self) -> bool:
        """Whether its end is not there: it is under way, or was when the gateway died; `entry` is the most."""
        return self.line.step is CallStep.RESERVED


def fold(lines: Iterable[JournalLine]) -> Iterator[Charge]:
    """The calls behind the lines of a day, in the order of their ends; those without an end last."""
    under_way: dict[str, Charge] = {}
    for line in lines:
        if line.step is CallStep.RESERVED and line.entry is not None:
            under_way[line.call] = Charge(line, line.entry)
            continue
        under_way.pop(line.call, None)
        if line.entry is not None:
            yield Charge(line, line.entry)
    yield from under_way.values()


def journal_days(paths: GatewayPaths) -> list[date]:
    """The days of which there is a journal, the oldest first."""
    days = []
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(paths.usage) as listing:
        for found in listing:
            with suppress(ValueError):
                stem, _, end = found.name.partition(".")
                days += [date.fromisoformat(stem)] if end == "jsonl" else []
    return sorted(days)


def read_charges(paths: GatewayPaths, since: date | None = None, *, only: bytes = b"") -> Iterator[Charge]:
    """All charges of calls that began on `since` or later, day by day. `only`: of lines that hold these bytes."""
    for day in journal_days(paths):
        if since is None or day >= since:
            yield from read_day(paths, day, only=only)


def read_day(paths: GatewayPaths, day: date, *, only: bytes = b"") -> Iterator[Charge]:
    """All charges of calls that began on that day."""
    yield from fold(iter_lines(paths.journal(day), JournalLine, only=only))


def used_by_attempt(charges: Iterable[Charge], ref: str, attempt: int) -> AttemptUsage:
    """What one attempt's calls cost; one without an end counts as the most, and as an estimate."""
    total, by_model, estimated = UsageTotal(), dict[str, UsageTotal](), 0.0
    for charge in charges:
        if (charge.line.ref, charge.line.attempt) == (ref, attempt):
            total = total.plus_entry(charge.entry)
            by_model[charge.entry.model] = by_model.get(charge.entry.model, UsageTotal()).plus_entry(charge.entry)
            estimated += charge.entry.cost_usd if charge.entry.estimated or charge.is_open else 0.0
    return AttemptUsage(ref=ref, attempt=attempt, total=total, by_model=by_model, estimated_usd=estimated)


class JournalWriter:
    """Appends to the days' files. One at a time, which holds gateway.lock; not for several threads at once."""

    def __init__(self, paths: GatewayPaths) -> None:
        self._paths = paths
        self._files: dict[date, int] = {}
        self._new: set[date] = set()  # whose name may not be durable yet

    def append(self, line: JournalLine, day: date) -> None:
        """Add a line to a day's file: seen by every reader, and safe from our own death, when this returns."""
        descriptor = self._file(day)
        found = os.fstat(descriptor)
        if not found.st_nlink:  # somebody has removed it: what is written there from now on nobody would ever read
            os.close(self._files.pop(day))
            descriptor = self._file(day)
            found = os.fstat(descriptor)
        path, end = self._paths.journal(day), found.st_size
        with doing("append to the usage journal", path):
            try:
                write_all(descriptor, line_as_is(line))
            except OSError:
                with suppress(OSError):
                    os.ftruncate(descriptor, end)
                raise

    def sync(self) -> None:
        """Make all that was appended so far durable. May run in a thread of its own, one at a time."""
        for day, descriptor in list(self._files.items()):
            with doing("write the usage journal to disk", self._paths.journal(day)):
                os.fdatasync(descriptor)
            if day in self._new:
                fsync_folder(self._paths.usage)
                self._new.discard(day)

    def close_before(self, day: date) -> None:
        """Let go of the files of earlier days."""
        for old in [one for one in self._files if one < day]:
            os.close(self._files.pop(old))

    def close(self) -> None:
        """Let go of all files."""
        self.close_before(date.max)

    def _file(self, day: date) -> int:
        if day not in self._files:
            make_folder(self._paths.usage)
            self._files[day] = _open_whole(self._paths.journal(day))
            self._new.add(day)
        return self._files[day]


def _open_whole(path: Path) -> int:
    with doing("open the usage journal", path):
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            cut_torn_tail(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor
