"""Plans and tasks: plan.json, the row of decisions, and the link that indexes the last of them."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from itertools import pairwise

from haikud.contracts.ids import split_ref, task_ref
from haikud.contracts.states import ALLOWED_MOVES, TaskState, is_final
from haikud.engine.upkeep.findings import Code, Finding, fault, note
from haikud.engine.upkeep.look import Look, SeenPlan, SeenTask
from haikud.spool.legal_names import Standing

ONLY_A_COPY = "only a copy of the spool can bring it back; until then the plan is left as it is"


def check_tasks(look: Look) -> Iterator[Finding]:
    """All plans, and all links."""
    for plan_id, why in look.unreadable.items():
        path = look.layout.plan(plan_id).plan
        yield fault(Code.PLAN_UNREADABLE, f"plan.json cannot be read: {why}", path, plan_id, ONLY_A_COPY)
    for plan_id, seen in look.plans.items():
        yield from _plan(look, plan_id, seen)
        for task in seen.tasks:
            yield from _decisions(look, task)
            yield from _link(look, task)
            yield from _log_link(look, task)
    yield from _dangling(look)
    yield from _foreign_folders(look)


def _foreign_folders(look: Look) -> Iterator[Finding]:
    for entry in look.entries:
        if entry.folder != "plan" or entry.standing is not Standing.LEGAL or not stat.S_ISDIR(entry.status.st_mode):
            continue
        seen = look.plans.get(entry.path.parent.name)
        if seen is not None and entry.path.name not in {task.task.id for task in seen.tasks}:
            why = f"a folder of a task that {seen.plan.id} does not have"
            yield note(Code.UNKNOWN_FILE, why, entry.path, seen.plan.id, "it is left alone: look what it is")


def _plan(look: Look, plan_id: str, seen: SeenPlan) -> Iterator[Finding]:
    paths, plan = look.layout.plan(plan_id), seen.plan
    if plan.id != plan_id:
        why = f"its plan.json is that of {plan.id}"
        yield fault(Code.PLAN_MISMATCH, why, paths.plan, plan_id, ONLY_A_COPY)
        return
    only = len(plan.tasks) == 1
    for task in plan.tasks:
        if task.ref != task_ref(plan_id, task.id, only_task=only) or not paths.task(task.id).folder.is_dir():
            why = f"its task {task.id} has no folder, or the wrong name {task.ref}"
            yield fault(Code.PLAN_MISMATCH, why, paths.plan, plan_id, ONLY_A_COPY)
    request = paths.folder / plan.request_file
    try:
        same = hashlib.sha256(request.read_bytes()).hexdigest() == plan.content_sha256
    except OSError as error:
        yield note(Code.REQUEST_CHANGED, f"the request as dropped cannot be read: {error.strerror}", request, plan_id)
        return
    if not same:
        why = "the kept request is not what was admitted; plan.json is what counts"
        yield note(Code.REQUEST_CHANGED, why, request, plan_id, "nothing depends on it")


def _decisions(look: Look, task: SeenTask) -> Iterator[Finding]:
    ref = task.task.ref
    paths = look.layout.task(ref)
    whole = {decision.number for decision in task.decisions}
    for number in range(1, max(task.numbers, default=1) + 1):
        path = paths.decision(number)
        if number not in task.numbers:
            yield fault(Code.DECISION_MISSING, f"decision {number} is missing", path, ref, ONLY_A_COPY)
        elif number not in whole:
            last = number == task.numbers[-1] and bool(whole)
            cure = "an earlier one is whole and holds; --repair moves this one aside" if last else ONLY_A_COPY
            yield fault(Code.DECISION_UNREADABLE, f"decision {number} cannot be read", path, ref, cure)
    for before, after in pairwise(task.decisions):
        twice = after.state is TaskState.RUNNING and after.attempt <= before.attempt
        if after.state not in ALLOWED_MOVES[before.state] or after.attempt < before.attempt or twice:
            why = f"{before.state} (attempt {before.attempt}) was followed by {after.state} (attempt {after.attempt})"
            cure = "this is a bug of haikud's: keep the plan's folder and report it"
            yield fault(Code.DECISION_ILLEGAL, why, paths.decision(after.number), ref, cure)


def _link(look: Look, task: SeenTask) -> Iterator[Finding]:
    last, ref = task.last, task.task.ref
    if last is None:
        return
    right = look.layout.link(last.state, ref)
    if not task.links:
        cure = "no daemon finds the task like this: stop the daemon, then `haikud doctor --repair`"
        yield fault(Code.LINK_MISSING, f"the task is {last.state} and has no link", right, ref, cure)
        return
    if len(task.links) > 1:
        where = " and ".join(task.links)
        yield fault(Code.LINK_DOUBLE, f"links under {where}; it is {last.state}", right, ref, "--repair leaves one")
    elif task.links != [last.state]:
        path = look.layout.link(task.links[0], ref)
        yield _wrong_link(look, task, f"the link says {task.links[0]}, the last decision {last.state}", str(path))
    for state in task.links:
        path = look.layout.link(state, ref)
        try:
            target = os.readlink(path)  # noqa: PTH115 - as text
        except FileNotFoundError:
            continue
        except OSError:
            target = ""
        if target != look.layout.link_target(ref):
            why = f"it should name {look.layout.link_target(ref)}"
            yield fault(Code.LINK_TARGET, why, path, ref, "--repair makes it anew, where it is a symlink")


def _wrong_link(look: Look, task: SeenTask, why: str, path: str) -> Finding:
    ref = task.task.ref
    if is_final(task.links[0]):  # recovery walks the folders of open states only
        return fault(Code.LINK_WRONG, why, path, ref, "stop the daemon, then `haikud doctor --repair`")
    what = "publishes its answer and moves it" if task.is_final else "moves it"
    return look.settled_at_start(Code.LINK_WRONG, why, path, ref, what)


def _log_link(look: Look, task: SeenTask) -> Iterator[Finding]:
    ref = task.task.ref
    path = look.layout.log_link(ref)
    try:
        target = os.readlink(path)  # noqa: PTH115 - as text
    except FileNotFoundError:
        target = None
    except OSError:
        return  # no symlink: an unknown file
    if target != look.layout.log_target(ref):
        what = "is missing" if target is None else "names something else"
        yield fault(Code.LOG_LINK_WRONG, f"the link to the task's log {what}", path, ref, "--repair makes it anew")


def _dangling(look: Look) -> Iterator[Finding]:
    """Links, in tasks/ and in logs/, of tasks that are not there."""
    for entry in look.entries:
        if entry.standing is not Standing.LEGAL or entry.folder not in {"state", "logs"}:
            continue
        name = entry.path.name
        ref = name if entry.folder == "state" else name.removeprefix("agent-").removesuffix(".log")
        plan_id = split_ref(ref)[0]
        if look.task(ref) is not None or plan_id in look.unreadable or (look.layout.pruned / plan_id).exists():
            continue
        if entry.folder == "logs":
            cure = "--repair removes it"
            yield note(Code.LOG_LINK_DANGLING, "a link to the log of a task that is not there", entry.path, ref, cure)
        elif is_final(TaskState(entry.path.parent.name)):
            why = "a link of a finished task that is not there"
            yield fault(Code.LINK_DANGLING, why, entry.path, ref, "--repair removes it")
        else:
            why = "a link of a task that was never admitted"
            yield look.settled_at_start(Code.LINK_DANGLING, why, entry.path, ref, "removes it")
