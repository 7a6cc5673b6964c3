"""Attempts that do nothing, carried out before runners are forked: what is made at first use is made then.

Regular expressions, the C library's handle, the settings' hosts, imports that a function does for itself: an attempt
makes them all again in each fork, which took a runner a third of its time. And the interpreter rewrites code that it
has seen some times, which copies its pages in each fork: so there are some attempts, and not one. Their agent is a
shell that ends at once, in a folder that is gone afterwards. Nothing of them is seen or needed: where the machine
refuses them, runners are as right as ever, and slower.

A spare that cannot have a runner's pages copied (own_pages.py) practises once more while it waits for its order: what a
runner writes to first is then copied for it already.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from haikud import __version__
from haikud.agent.environment import agent_environment
from haikud.agent.events import EventLog
from haikud.agent.runner import run_attempt
from haikud.contracts.attempt import Assignment, ResolvedRole, Result, Spec
from haikud.contracts.base import Model, utc_now
from haikud.contracts.masking import active_masker, use_masker
from haikud.contracts.plan import Task, TaskContext
from haikud.contracts.settings import ApiSettings, GitSettings, LimitSettings
from haikud.contracts.states import AttemptOutcome, Phase
from haikud.contracts.usage import UsageTotal
from haikud.sandbox.commands import shell
from haikud.sandbox.prctl import become_subreaper, cease_as_subreaper
from haikud.spool.agent_log import AgentLog
from haikud.spool.claims import write_runner_identity
from haikud.spool.durable import write_quickly
from haikud.spool.layout import AttemptPaths, SpoolLayout
from haikud.spool.models import dump, read_model

_REF = "rehearsal"
_TIMES = 9
"""CPython 3.11 rewrites a function when it is called for the ninth time; more than that was hardly to be measured."""

_papers: dict[type[Model], bytes] = {}
"""What the last rehearsal was ordered by."""


def rehearse() -> bool:
    """Carry them out; whether they went through. For a process without children; its gc is on afterwards."""
    masker = active_masker()
    try:
        with suppress(OSError), tempfile.TemporaryDirectory(prefix="haikud-rehearsal-") as folder:
            spool = SpoolLayout(Path(folder))
            return all(_carry_out(spool, number) for number in range(1, _TIMES + 1))
    finally:
        use_masker(masker)
    return False


@contextmanager
def laid_out() -> Iterator[AttemptPaths]:
    """The folder of an attempt that was ordered and not begun, for as long as this lasts. Raises OSError."""
    with tempfile.TemporaryDirectory(prefix="haikud-rehearsal-") as folder:
        yield _lay_out(SpoolLayout(Path(folder)), 1)


def _lay_out(spool: SpoolLayout, number: int) -> AttemptPaths:
    task = Task(id=_REF, ref=_REF, title="Rehearse", workspace="none")
    spec = Spec(
        ref=_REF,
        plan_id=_REF,
        task_id=_REF,
        attempt=number,
        agent_id="nobody-1",
        ordered_at=utc_now(),
        task=task,
        role=ResolvedRole(name="nobody", command=shell(":"), workspace="none"),
        workspace=None,
        limits=LimitSettings.model_validate({}),
        api=ApiSettings.model_validate({}),
        git=GitSettings.model_validate({}),
        budget_usd=0.0,
        spent=UsageTotal(),
    )
    paths = spool.task(_REF).attempt(number)
    paths.folder.mkdir(parents=True)
    write_quickly(paths.spec, dump(spec))
    write_quickly(paths.assignment, dump(Assignment(task_id=_REF, title=task.title, context=TaskContext())))
    return paths


def _carry_out(spool: SpoolLayout, number: int) -> bool:
    paths = _lay_out(spool, number)
    write_runner_identity(paths.runner, __version__)
    for cls, path in ((Spec, paths.spec), (Assignment, paths.assignment)):
        _papers[cls] = path.read_bytes()
    become_subreaper()  # as a runner is: otherwise the end of its tree is looked for among all processes
    try:
        run_attempt(paths.folder, None, threading.Event())
    finally:
        cease_as_subreaper()
    result = read_model(paths.result, Result)
    return result is not None and result.outcome is AttemptOutcome.COMPLETED


def practise() -> None:
    """Do the first steps of an attempt that need no folder of its own: nobody waits for a spare, but for a runner."""
    read = {cls: cls.model_validate_json(data) for cls, data in _papers.items()}
    spec, paths = read.get(Spec), AttemptPaths(Path(os.devnull) / "attempt-1")
    with suppress(OSError):
        write = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        try:
            AgentLog(write, 1).line("practised")
        finally:
            os.close(write)
        EventLog(Path(os.devnull)).phase(Phase.SETUP, 0, "practised")
        if isinstance(spec, Spec):
            agent_environment(spec, paths, worktree=paths.workspace, identity=("", ""), host=os.environ)
