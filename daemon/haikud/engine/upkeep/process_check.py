"""Attempts and processes: who is said to be at work, who holds a claim, and who lives on without a task.

No claim is taken: the kernel's list of locks tells who holds one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from haikud.contracts.states import TaskState
from haikud.engine.upkeep.findings import Code, Finding, fault, note
from haikud.engine.upkeep.look import Look, SeenTask
from haikud.sandbox.process_table import describe
from haikud.spool.claims import is_alive, read_runner_identity

_ATTEMPT = re.compile(r"attempt-([0-9]+)")


def check_processes(look: Look) -> Iterator[Finding]:
    """All attempts."""
    at_work = set()
    for seen in look.plans.values():
        for task in seen.tasks:
            if task.running is not None:
                at_work.add(look.layout.task(task.task.ref).attempt(task.running).folder)
                yield from _running(look, task, task.running)
    for folder in sorted(look.held - at_work):
        why = "its runner lives, though no decision says that it runs"
        cure = "stop the daemon, then `haikud doctor --repair` ends it"
        yield fault(Code.CLAIM_HELD, why, folder / "claim", ref_of(look, folder), cure)
    lost: dict[Path, list[int]] = {}
    for pid, marker in sorted(look.marked.items()):
        folder = attempt_of(look, marker)
        if folder not in at_work:
            lost.setdefault(folder, []).append(pid)
    for folder, pids in lost.items():
        why = f"processes of an attempt that is over: {'; '.join(describe(pid) for pid in pids[:5])}"
        cure = "stop the daemon, then `haikud doctor --repair` ends them"
        yield fault(Code.PROCESS_LEFT, why, folder / "out", ref_of(look, folder), cure)


def _running(look: Look, task: SeenTask, number: int) -> Iterator[Finding]:
    paths = look.layout.task(task.task.ref).attempt(number)
    if paths.folder in look.held:
        return
    runner = read_runner_identity(paths.runner)
    if runner is not None and is_alive(runner):
        return  # just starting or ending, or locks cannot be listed here
    cure = "the next daemon settles it: haikud run" if look.daemon is None else "the daemon is at it"
    why = f"attempt {number} is said to be running, and its runner is gone"
    yield note(Code.RUNNER_GONE, why, paths.folder, task.task.ref, cure)


def attempt_of(look: Look, marker: str) -> Path:
    """The attempt's folder that a HAIKUD_OUT names; the path itself where it is none of ours."""
    path = Path(marker)
    for folder in (path, *path.parents):
        if attempt_number(folder) is not None and folder.parent.parent.parent == look.layout.plans:
            return folder
    return path


def attempt_number(folder: Path) -> int | None:
    """N of `attempt-N`; None for any other folder."""
    match = _ATTEMPT.fullmatch(folder.name)
    return int(match[1]) if match else None


def ref_of(look: Look, folder: Path) -> str | None:
    """The ref of the task whose attempt that is."""
    seen = look.plans.get(folder.parent.parent.name)
    names = [one.task for one in seen.tasks if one.task.id == folder.parent.name] if seen else []
    return names[0].ref if names else None


def is_quiet(look: Look, task: SeenTask) -> bool:
    """Whether nobody works on a task now: no runner, no process of its attempts."""
    if task.last is not None and task.last.state is TaskState.RUNNING:
        return False
    folder = look.layout.task(task.task.ref).folder
    return not any(path.is_relative_to(folder) for path in (*map(Path, look.marked.values()), *look.held))
