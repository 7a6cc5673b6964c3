"""Mending: each finding that haikud can end by itself, by the very code that the daemon uses for it.

Called with the daemon's lock held. Every cure may be cut short and begun again. Nothing that could be someone's work is
removed: what cannot be read is renamed to NAME.torn-N beside itself; unknown files are left alone. A cure that the
environment or git refuses leaves its finding standing, with what was said.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from itertools import count
from pathlib import Path

from haikud.contracts.attempt import WorkspaceOrder
from haikud.contracts.envelope import Status
from haikud.contracts.settings import Settings
from haikud.engine.answers.publication import publish_final, publish_plan
from haikud.engine.attempts.clearing import clear_attempt
from haikud.engine.attempts.specs import build_workspace
from haikud.engine.drops.folders import gid_of
from haikud.engine.launchers.protocol import attempt_name
from haikud.engine.merging.places import clear_merge_of
from haikud.engine.upkeep.answer_check import STATUS, status_of
from haikud.engine.upkeep.findings import Code, Finding, Severity
from haikud.engine.upkeep.look import Look, SeenTask
from haikud.engine.upkeep.process_check import attempt_number, attempt_of
from haikud.engine.upkeep.removal import finish_removal
from haikud.engine.upkeep.repository_check import measured_head
from haikud.sandbox.cgroups import cgroup_name
from haikud.sandbox.trees import TreeStillAlive, end_tree
from haikud.spool.claims import release_claim
from haikud.spool.droppers import is_own_group, strangers_bits
from haikud.spool.durable import fsync_folder, make_folder, remove_if_there, write_durably
from haikud.spool.layout import REMOVAL, AttemptPaths, SpoolLayout
from haikud.spool.models import UnreadableFile
from haikud.spool.publish import publish_escalation, retract, retract_escalation, rotate_response
from haikud.spool.store import Store
from haikud.spool.taken import split_taken_name
from haikud.workspace.checks import clear_stale_lock
from haikud.workspace.git import WorkspaceError
from haikud.workspace.private_git import detach_private_git, harvest
from haikud.workspace.removal import forget_missing_worktree, save_commit
from haikud.workspace.repository_lock import repository_lock

GRACE_SECONDS = 5.0
"""What processes that are ended get between TERM and KILL."""

Cure = Callable[[Look, Store, Finding], str | None]
"""Mends a finding and says what was done; None where it can or need not do anything."""


def mend(look: Look, findings: list[Finding]) -> list[Finding]:
    """Mend what can be; those that were mended."""
    store = Store(look.layout)
    mended = []
    for finding in findings:
        cure = CURES.get(finding.code)
        if cure is None:
            continue
        try:
            said = cure(look, store, finding)
        except (OSError, WorkspaceError, UnreadableFile, TreeStillAlive):
            continue  # it is found again, with its cure
        if said is not None:
            mended.append(finding.mended(said))
    return mended


def mend_machine(layout: SpoolLayout, findings: list[Finding], settings: Settings) -> list[Finding]:
    """Close what is open to everybody, or to a group that the settings do not name."""
    mended, gid = [], gid_of(settings)
    for finding in findings:
        if finding.code is Code.PERMISSIONS and finding.severity is Severity.FAULT:
            path = Path(finding.path)
            status = path.lstat()
            strange = strangers_bits(status, gid) & (0o002 if path == layout.root else 0o007)
            is_groups = status.st_gid != gid and not is_own_group(status.st_gid)
            path.chmod(stat.S_IMODE(status.st_mode) & ~(strange | (strange << 3 if is_groups else 0)))
            mended.append(finding.mended("closed to other users"))
    return mended


def _set_aside(path: Path) -> str:
    """Rename what cannot be read to NAME.torn-N; its new name."""
    target = next(
        one for number in count(1) if not os.path.lexists(one := path.with_name(f"{path.name}.torn-{number}"))
    )
    path.rename(target)
    fsync_folder(path.parent)
    return target.name


def _torn(_look: Look, _store: Store, finding: Finding) -> str:
    return f"moved aside as {_set_aside(Path(finding.path))}"


def _remove(_look: Look, _store: Store, finding: Finding) -> str | None:
    return "removed" if remove_if_there(Path(finding.path)) else None


def _make_folder(_look: Look, _store: Store, finding: Finding) -> str:
    make_folder(Path(finding.path))
    return "made anew"


def _builds(_look: Look, store: Store, _finding: Finding) -> str | None:
    removed = store.recover_builds()
    return f"removed, with its links: {', '.join(removed)}" if removed else None


def _taken(look: Look, _store: Store, finding: Finding) -> str | None:
    taken = split_taken_name(Path(finding.path).name)
    if taken is None or taken[0] not in look.finished_tokens:
        return None
    return "removed: what it caused is durable" if remove_if_there(Path(finding.path)) else None


def _torn_decision(look: Look, _store: Store, finding: Finding) -> str | None:
    task = look.task(finding.ref or "")
    path = Path(finding.path)
    if task is None or not task.decisions or path != look.layout.task(task.task.ref).decision(task.numbers[-1]):
        return None
    return f"moved aside as {_set_aside(path)}; decision {task.decisions[-1].number} holds"


def _link(look: Look, store: Store, finding: Finding) -> str | None:
    """One link, where the last decision says; a final task is published to the end first."""
    task = look.task(finding.ref or "")
    if task is None or task.last is None:
        return None
    for state in task.links:
        path = look.layout.link(state, task.task.ref)
        if path.is_symlink() and os.readlink(path) != look.layout.link_target(task.task.ref):  # noqa: PTH115 - as text
            path.unlink()
    if any(os.path.lexists(path) and not path.is_symlink() for path in _places(look, task)):
        return None  # something that is no link has its name
    if task.is_final and len(task.decisions) == task.last.number:
        _publish(look, store, task)
    else:
        store.move_link(task.task.ref, task.last.state, durable=True)
    return f"moved to {task.last.state}"


def _places(look: Look, task: SeenTask) -> list[Path]:
    return [look.layout.link(state, task.task.ref) for state in task.links]


def _publish(look: Look, store: Store, task: SeenTask) -> None:
    plan = look.plans[task.task.ref.partition(".")[0]]
    others = [one for one in plan.tasks if one is not task]
    assert task.last is not None  # noqa: S101 - the callers look
    is_last = all(store.linked_state(one.task.ref) == (one.last and one.last.state) and one.is_final for one in others)
    publish_final(store, plan.plan, task.task, task.last, is_last=is_last)


def _dangling(look: Look, _store: Store, finding: Finding) -> str | None:
    path = Path(finding.path)
    if not path.is_symlink() or (look.layout.plans / (finding.ref or "").partition(".")[0]).exists():
        return None
    path.unlink()
    fsync_folder(path.parent)
    return "removed"


def _log_link(look: Look, _store: Store, finding: Finding) -> str:
    path = Path(finding.path)
    remove_if_there(path)
    path.symlink_to(look.layout.log_target(finding.ref or ""))
    return "made anew"


def _response(look: Look, store: Store, finding: Finding) -> str | None:
    """Build an answer again. The published copy that readers may have is an older one's from now on."""
    path, ref = Path(finding.path), finding.ref or ""
    kept = None
    if finding.code is Code.RESPONSE_UNREADABLE:
        kept = _set_aside(path)
    elif finding.code is Code.RESPONSE_WRONG:
        older = rotate_response(path.parent)
        kept = older.name if older else None
    plan_id = ref.partition(".")[0]
    is_plan = path == look.layout.plan(plan_id).response
    task = look.task(ref)
    if _bring_home(look, path, ref, None if is_plan else task):
        return f"brought home from responses/{f'; the old one is {kept}' if kept else ''}"
    if is_plan:
        publish_plan(store, look.plans[plan_id].plan)
    elif task is not None:
        _publish(look, store, task)
    return f"built again and published{f'; the old one is {kept}' if kept else ''}"


def _bring_home(look: Look, path: Path, ref: str, task: SeenTask | None) -> bool:
    """Take the published answer for haikud's own where it is one: what a requester has read stays the answer.

    Not where a group may write it.
    """
    if look.layout.responses.stat().st_mode & stat.S_ISGID:
        return False
    published = look.layout.responses / f"{ref}.json"
    status = status_of(published)
    right = {str(STATUS[task.last.state])} if task is not None and task.last is not None else set(Status) - {"rejected"}
    if status is None or status not in right:
        return False
    write_durably(path, published.read_bytes())
    return True


def _too_early(look: Look, _store: Store, finding: Finding) -> str | None:
    """An answer to what is not finished: kept in its folder as an older one, or taken back from responses/."""
    path = Path(finding.path)
    if path.parent == look.layout.responses:
        was = "rejection" if status_of(path) == Status.REJECTED else "answer"
        return f"took the {was} back" if retract(look.layout, path.name) else None
    older = rotate_response(path.parent)
    return f"kept as {older.name}" if older else None


def _escalation(look: Look, _store: Store, finding: Finding) -> str | None:
    task = look.task(finding.ref or "")
    if task is not None and task.last is not None and task.last.state == "escalated" and task.last.escalation:
        source = look.layout.task(task.task.ref).escalation(task.last.escalation)
        if not source.is_file():
            return None
        publish_escalation(look.layout, source, task.task.ref)
        return "published"
    return "taken back" if retract_escalation(look.layout, finding.ref or "") else None


def _processes(look: Look, _store: Store, finding: Finding) -> str | None:
    """End what lives on of an attempt that is over, and whoever holds its claim."""
    folder = Path(finding.path).parent
    ended: list[str] = []
    number = attempt_number(folder)
    if number is not None and folder.is_dir():
        cgroup = cgroup_name(look.spool_id or "", attempt_name(finding.ref or "", number))
        claim, ended = clear_attempt(AttemptPaths(folder), GRACE_SECONDS, cgroup)
        if claim is not None:
            release_claim(claim)
    for marker in sorted({marker for marker in look.marked.values() if attempt_of(look, marker) == folder}):
        ended += end_tree(marker=marker, pids=[], grace=GRACE_SECONDS)
    return f"ended: {'; '.join(ended)}" if ended else None


def _order_of(look: Look, finding: Finding) -> WorkspaceOrder | None:
    task = look.task(finding.ref or "")
    if task is None:
        return None
    plan = look.plans[task.task.ref.partition(".")[0]].plan
    return build_workspace(plan, task.task, look.layout.task(task.task.ref), look.spool_id or "")


def _merge_left(_look: Look, _store: Store, finding: Finding) -> str | None:
    common = str(Path(finding.path).parent.parent.parent)
    return "removed, with what ran there" if clear_merge_of(common, finding.ref or "") else None


def _attached(look: Look, _store: Store, finding: Finding) -> str | None:
    order = _order_of(look, finding)
    if order is None:
        return None
    try:
        harvest(order)
    except WorkspaceError as error:
        detach_private_git(order)
        return f"put the repository's own back; the agent's commits stay in {order.private_git} ({error})"
    return "took its commits home and put the repository's own back"


def _worktree_gone(look: Look, _store: Store, finding: Finding) -> str | None:
    order = _order_of(look, finding)
    return "taken off git's list" if order is not None and forget_missing_worktree(order) else None


def _git_lock(look: Look, _store: Store, finding: Finding) -> str | None:
    order = _order_of(look, finding)
    if order is None:
        return None
    with repository_lock(order.git_common_dir):
        clear_stale_lock(Path(finding.path))
    return "removed"


def _rescue(look: Look, _store: Store, finding: Finding) -> str | None:
    order, task = _order_of(look, finding), look.task(finding.ref or "")
    if order is None or task is None:
        return None
    sha = measured_head(look, task)
    name = save_commit(order, sha) if sha is not None else None
    return f"kept as {name}" if name else None


def _prune(look: Look, _store: Store, finding: Finding) -> str | None:
    path = Path(finding.path)
    match = REMOVAL.fullmatch(path.name)
    if match is not None:
        finish_removal(look.layout, match[1])
        return "finished"
    plan_id = path.name
    if os.path.lexists(look.layout.plan(plan_id).folder):
        remove_if_there(path)
        fsync_folder(path.parent)
        return "removed the tombstone: the plan is whole"
    for left in look.outside_plans.get(plan_id, []):
        remove_if_there(left)
        fsync_folder(left.parent)
    return "removed what was left of it"


CURES: dict[Code, Cure] = {
    Code.FOLDER_MISSING: _make_folder,
    Code.QUEUE_UNREADABLE: _torn,
    Code.DAY_SPEND_UNREADABLE: _torn,
    Code.STATUS_UNREADABLE: _remove,
    Code.TEMPORARY_LEFT: _remove,
    Code.TOKEN_LEFT: _remove,
    Code.BUILD_LEFT: _builds,
    Code.TAKEN_LEFT: _taken,
    Code.PRUNE_UNFINISHED: _prune,
    Code.DECISION_UNREADABLE: _torn_decision,
    Code.LINK_MISSING: _link,
    Code.LINK_DOUBLE: _link,
    Code.LINK_WRONG: _link,
    Code.LINK_TARGET: _link,
    Code.LINK_DANGLING: _dangling,
    Code.LOG_LINK_WRONG: _log_link,
    Code.LOG_LINK_DANGLING: _remove,
    Code.RESPONSE_MISSING: _response,
    Code.RESPONSE_UNREADABLE: _response,
    Code.RESPONSE_WRONG: _response,
    Code.RESPONSE_TOO_EARLY: _too_early,
    Code.ESCALATION_MISSING: _escalation,
    Code.ESCALATION_STALE: _escalation,
    Code.CLAIM_HELD: _processes,
    Code.PROCESS_LEFT: _processes,
    Code.WORKTREE_GONE: _worktree_gone,
    Code.MERGE_LEFT: _merge_left,
    Code.GIT_LEFT_ATTACHED: _attached,
    Code.GIT_LOCK_LEFT: _git_lock,
    Code.GIT_TEMPORARY_LEFT: _remove,
    Code.WORK_UNREACHABLE: _rescue,
}
"""What `--repair` can do. A code that is not here is one for a person."""
