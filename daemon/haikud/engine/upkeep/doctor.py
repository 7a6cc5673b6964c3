"""The doctor's round: look, look again where something moves, and mend where that is wanted and no daemon runs.

Reading is safe at any time. While processes of the spool live, a half state may be only that of the moment: what was
found is looked for again, and only what stays is said. Mending holds the daemon's lock, so that no daemon starts
meanwhile; afterwards everything is looked at once more, and what is still there is what only a person can mend.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from haikud.engine.upkeep.answer_check import check_answers
from haikud.engine.upkeep.files_check import check_files
from haikud.engine.upkeep.findings import Finding, Severity, in_both
from haikud.engine.upkeep.gateway_check import check_gateway_files
from haikud.engine.upkeep.look import Look, look_at_spool
from haikud.engine.upkeep.machine import Surroundings, check_machine, check_permissions
from haikud.engine.upkeep.process_check import check_processes
from haikud.engine.upkeep.repository_check import check_repositories
from haikud.engine.upkeep.task_check import check_tasks
from haikud.spool.daemon_lock import daemon_pid, hold_daemon_lock
from haikud.spool.layout import SpoolLayout

PAUSE_SECONDS = 0.7
"""Between two looks: longer than the daemon takes from one step of a task to the next."""

MOST_LOOKS = 4


def examine(layout: SpoolLayout, around: Surroundings, say: Callable[[str], None]) -> list[Finding]:
    """Everything that is to be said about the machine and the spool."""
    return [*check_machine(layout, around), *check_spool(layout, say)]


def check_spool(
    layout: SpoolLayout, say: Callable[[str], None] = lambda _: None, *, daemon: Callable[[], int | None] | None = None
) -> list[Finding]:
    """What is found in the spool, and stays where something is alive there."""
    daemon = daemon or (lambda: daemon_pid(layout))
    look = look_at_spool(layout, daemon=daemon)
    found = findings_of(look)
    for _ in range(MOST_LOOKS - 1):
        if not found or not look.is_in_use():
            break
        say("looking again, since the spool is in use")
        time.sleep(PAUSE_SECONDS)
        look = look_at_spool(layout, daemon=daemon)
        found = in_both(found, findings_of(look))
    return found


def findings_of(look: Look) -> list[Finding]:
    """What one look shows."""
    checks: Iterable[Callable[[Look], Iterable[Finding]]] = (
        check_files,
        check_gateway_files,
        check_tasks,
        check_answers,
        check_processes,
        check_repositories,
    )
    return [finding for check in checks for finding in check(look)]


def repair(layout: SpoolLayout, around: Surroundings) -> list[Finding]:
    """Mend what can be mended; what was mended, and what is left. Raises SpoolIsTaken where a daemon runs."""
    from haikud.engine.upkeep.repair import mend, mend_machine

    with hold_daemon_lock(layout):
        mended = mend_machine(layout, list(check_permissions(layout, around.settings)), around.settings)
        for _ in range(MOST_LOOKS):  # one cure may lay bare the next fault
            look = look_at_spool(layout, daemon=lambda: None)
            done = mend(look, findings_of(look))
            mended += done
            if not done:
                break
        left = check_spool(layout, daemon=lambda: None)
    return [*check_machine(layout, around), *mended, *left]


def has_faults(findings: Iterable[Finding]) -> bool:
    """Whether a fault is left."""
    return any(one.severity is Severity.FAULT for one in findings)
