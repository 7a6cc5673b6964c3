"""The ledger: a plan's append-only history for people and costs.

Promises: entries that are added together are one write, never mixed with others. Not fsynced, and never needed to
recover: after a power cut its end may be missing or broken, and reading skips that. Fails with OSError.
"""

from __future__ import annotations

import os

from haikud.contracts.ledger import LedgerEntry
from haikud.spool.layout import PlanPaths
from haikud.spool.models import dump_line, iter_lines


def append_entry(plan_paths: PlanPaths, *entries: LedgerEntry) -> None:
    """Add one entry, or several in order."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(plan_paths.ledger, flags, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        os.write(descriptor, (b"\n" if torn else b"") + b"".join(map(dump_line, entries)))
    finally:
        os.close(descriptor)


def read_entries(plan_paths: PlanPaths) -> list[LedgerEntry]:
    """All whole entries, in order."""
    return list(iter_lines(plan_paths.ledger, LedgerEntry))
