"""The doctor on isolation: which mode the settings want, which work here, tried for real, and what would mend the rest.

What works for the doctor may be refused to a daemon that lives elsewhere (in a container, under a unit), so that what
a running daemon has found is said beside it. Fails with nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from haikud.contracts.live import LiveStatus
from haikud.contracts.settings import SandboxSettings
from haikud.engine.upkeep.findings import Code, Finding, fault, note, ok
from haikud.sandbox.probe import Probed, probe
from haikud.spool.daemon_lock import daemon_pid
from haikud.spool.layout import SpoolLayout
from haikud.spool.models import UnreadableFile, read_model

Find = Callable[[str, SandboxSettings], Probed]


def check_sandbox(layout: SpoolLayout, settings: SandboxSettings, find: Find = probe) -> Iterator[Finding]:
    """One finding."""
    wanted, of_daemon = settings.mode, _of_daemon(layout)
    if wanted == "none":
        why = "mode none, as the settings say: what models and plans choose to run is held back by nothing"
        found = find("auto", settings)
        instead = f"`sandbox: {{mode: auto}}` would be {found.mode} here" if found.mode else "see SECURITY.md"
        yield note(Code.SANDBOX, f"{why}{of_daemon}", cure=instead)
        return
    found = find(wanted, settings)
    reasons, cure = "; ".join(found.reasons), "; ".join(found.cures) or "see docs/isolation.md"
    if found.mode is None:
        yield fault(Code.SANDBOX, f"mode {wanted}: no task is run, nothing works here: {reasons}{of_daemon}", cure=cure)
    elif reasons:
        yield note(Code.SANDBOX, f"mode {wanted}: {found.mode} here; {reasons}{of_daemon}", cure=cure)
    else:
        others = [other for other in ("bwrap", "landlock") if other != found.mode and find(other, settings).mode]
        too = f"; {', '.join(others)} would work too" if others else ""
        yield ok(Code.SANDBOX, f"mode {wanted}: {found.mode} works here{too}{of_daemon}")


def _of_daemon(layout: SpoolLayout) -> str:
    """What the daemon that runs has found."""
    if daemon_pid(layout) is None:
        return ""
    try:
        status = read_model(layout.status_file, LiveStatus)
    except (UnreadableFile, OSError):
        return ""
    return f"; the daemon that runs: {status.daemon.sandbox}" if status else ""
