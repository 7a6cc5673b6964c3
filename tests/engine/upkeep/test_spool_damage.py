"""Each damage of a spool is seen, mended by --repair, and then gone; or it says what only a person can do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.lived_in import LivedIn

from haikud.engine.upkeep.findings import Code, Severity

TOKEN = "0123456789abcdef"
DEAD = 2**22 - 1  # no process has a pid as large as pid_max itself


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def rename(spool: LivedIn, old: str, new: str) -> None:
    spool.path(old).rename(spool.path(new))


def rewrite(path: Path, **fields: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **fields}), encoding="utf-8")


def newest(folder: Path) -> Path:
    return max(folder.glob("decision-*.json"))


def add_decision(folder: Path, **fields: object) -> Path:
    """The next decision, like the last one but for `fields`."""
    last = newest(folder)
    number = int(last.stem.rpartition("-")[2]) + 1
    new = folder / f"decision-{number:04d}.json"
    shutil.copy(last, new)
    rewrite(new, number=number, **fields)
    return new


def stale_token(spool: LivedIn) -> None:
    token = json.loads(spool.path("plans/work/plan.json").read_bytes())["token"]
    spool.path(f"incoming/.taken-{token}-work.json").write_bytes(b"{}")


def two_answers(spool: LivedIn) -> None:
    """The answer of a task that is retried just now, and its plan's, were not taken back."""
    add_decision(spool.path("plans/broken/broken"), state="queued")
    rename(spool, "tasks/failed/broken", "tasks/queued/broken")


def rejection_left(spool: LivedIn) -> None:
    shutil.copy(spool.path("responses/bad.json"), spool.path("responses/later.json"))


Damage = Callable[[LivedIn], object]

MENDED: dict[str, tuple[Code, Severity, Damage]] = {
    "a folder is missing": (Code.FOLDER_MISSING, Severity.FAULT, lambda s: s.path("gateway").rmdir()),
    "queue.json is torn": (Code.QUEUE_UNREADABLE, Severity.FAULT, lambda s: truncate(s.path("queue.json"))),
    "day-spend.json is torn": (
        Code.DAY_SPEND_UNREADABLE,
        Severity.NOTE,
        lambda s: s.path("day-spend.json").write_text("{"),
    ),
    "status.json is torn": (Code.STATUS_UNREADABLE, Severity.NOTE, lambda s: truncate(s.path("status.json"))),
    "a durable write was cut short": (
        Code.TEMPORARY_LEFT,
        Severity.NOTE,
        lambda s: s.path(f"plans/work/.response.json.{DEAD}-0a1b2c3d.tmp").write_text("{"),
    ),
    "a plan was never admitted": (
        Code.BUILD_LEFT,
        Severity.NOTE,
        lambda s: [
            shutil.copytree(s.path("plans/later"), s.path("plans/.new-one.new")),
            s.path("plans/.new-one.new/later").rename(s.path("plans/.new-one.new/new-one")),
            s.path("tasks/queued/new-one").symlink_to("../../plans/new-one/new-one"),
            s.path("logs/agent-new-one.log").symlink_to("../plans/new-one/new-one/agent.log"),
        ],
    ),
    "a request was admitted and not unlinked": (Code.TAKEN_LEFT, Severity.NOTE, stale_token),
    "an open task has no link": (
        Code.LINK_MISSING,
        Severity.FAULT,
        lambda s: s.path("tasks/queued/later").unlink(),
    ),
    "a finished task has no link": (
        Code.LINK_MISSING,
        Severity.FAULT,
        lambda s: s.path("tasks/succeeded/pair.a").unlink(),
    ),
    "two links": (
        Code.LINK_DOUBLE,
        Severity.FAULT,
        lambda s: s.path("tasks/failed/later").symlink_to("../../plans/later/later"),
    ),
    "an open link of a finished task": (
        Code.LINK_WRONG,
        Severity.NOTE,
        lambda s: rename(s, "tasks/succeeded/work", "tasks/running/work"),
    ),
    "a final link of an open task": (
        Code.LINK_WRONG,
        Severity.FAULT,
        lambda s: rename(s, "tasks/queued/later", "tasks/failed/later"),
    ),
    "a final link though nothing was published": (
        Code.RESPONSE_MISSING,
        Severity.FAULT,
        lambda s: [s.path("plans/work/work/response.json").unlink(), s.path("plans/work/response.json").unlink()],
    ),
    "a link that names something else": (
        Code.LINK_TARGET,
        Severity.FAULT,
        lambda s: [s.path("tasks/queued/later").unlink(), s.path("tasks/queued/later").symlink_to("/etc")],
    ),
    "an open link without a plan": (
        Code.LINK_DANGLING,
        Severity.NOTE,
        lambda s: s.path("tasks/queued/never").symlink_to("../../plans/never/never"),
    ),
    "a final link without a plan": (
        Code.LINK_DANGLING,
        Severity.FAULT,
        lambda s: s.path("tasks/failed/never.a").symlink_to("../../plans/never/a"),
    ),
    "a log link is missing": (
        Code.LOG_LINK_WRONG,
        Severity.FAULT,
        lambda s: s.path("logs/agent-pair.a.log").unlink(),
    ),
    "a log link of no task": (
        Code.LOG_LINK_DANGLING,
        Severity.NOTE,
        lambda s: s.path("logs/agent-never.log").symlink_to("../plans/never/never/agent.log"),
    ),
    "the last decision is torn": (
        Code.DECISION_UNREADABLE,
        Severity.FAULT,
        lambda s: truncate(add_decision(s.path("plans/later/later"), state="paused")),
    ),
    "a task's answer is torn": (
        Code.RESPONSE_UNREADABLE,
        Severity.FAULT,
        lambda s: truncate(s.path("plans/pair/a/response.json")),
    ),
    "a plan's answer is torn": (
        Code.RESPONSE_UNREADABLE,
        Severity.FAULT,
        lambda s: truncate(s.path("plans/pair/response.json")),
    ),
    "an answer is that of another end": (
        Code.RESPONSE_WRONG,
        Severity.FAULT,
        lambda s: rewrite(s.path("plans/pair/b/response.json"), status="cancelled"),
    ),
    "an open task has an answer": (Code.RESPONSE_TOO_EARLY, Severity.FAULT, two_answers),
    "a rejection of an admitted plan": (Code.RESPONSE_TOO_EARLY, Severity.FAULT, rejection_left),
    "a question is not published": (
        Code.ESCALATION_MISSING,
        Severity.NOTE,
        lambda s: s.path("escalations/asks.json").unlink(),
    ),
    "an answered question is published": (
        Code.ESCALATION_STALE,
        Severity.FAULT,
        lambda s: shutil.copy(s.path("escalations/asks.json"), s.path("escalations/work.json")),
    ),
    "an older question is published": (
        Code.ESCALATION_STALE,
        Severity.NOTE,
        lambda s: s.path("escalations/asks.json").write_text("{}"),
    ),
    "a tombstone beside its plan": (
        Code.PRUNE_UNFINISHED,
        Severity.NOTE,
        lambda s: s.path("plans/.pruned/work").write_text("{}"),
    ),
    "a plan that was being pruned": (
        Code.PRUNE_UNFINISHED,
        Severity.NOTE,
        lambda s: [s.path("plans/.pruned/pair").write_text("{}"), rename(s, "plans/pair", "plans/.pair.pruned")],
    ),
    "links and answers of a pruned plan": (
        Code.PRUNE_UNFINISHED,
        Severity.NOTE,
        lambda s: [s.path("plans/.pruned/pair").write_text("{}"), shutil.rmtree(s.path("plans/pair"))],
    ),
}


@pytest.mark.parametrize("name", MENDED)
def test_what_is_seen_and_mended(spool: LivedIn, name: str):
    code, severity, damage = MENDED[name]
    damage(spool)
    found = spool.look()
    assert code in found, found
    assert severity in {one.severity for one in found[code]}, found
    assert all(one.cure for one in found[code])
    mended, left = spool.repair()
    assert left == []
    assert code in {one.code for one in mended}
    assert spool.look() == {}


LEFT: dict[str, tuple[Code, Severity, Damage]] = {
    "plan.json is torn": (
        Code.PLAN_UNREADABLE,
        Severity.FAULT,
        lambda s: truncate(s.path("plans/work/plan.json")),
    ),
    "plan.json is missing": (
        Code.PLAN_UNREADABLE,
        Severity.FAULT,
        lambda s: s.path("plans/work/plan.json").unlink(),
    ),
    "plan.json is another plan's": (
        Code.PLAN_MISMATCH,
        Severity.FAULT,
        lambda s: shutil.copy(s.path("plans/pair/plan.json"), s.path("plans/work/plan.json")),
    ),
    "a task's folder is gone": (
        Code.PLAN_MISMATCH,
        Severity.FAULT,
        lambda s: shutil.rmtree(s.path("plans/pair/a")),
    ),
    "the request was changed": (
        Code.REQUEST_CHANGED,
        Severity.NOTE,
        lambda s: s.path("plans/work/request.json").write_text("{}"),
    ),
    "a decision is missing": (
        Code.DECISION_MISSING,
        Severity.FAULT,
        lambda s: s.path("plans/work/work/decision-0002.json").unlink(),
    ),
    "a decision before the last is torn": (
        Code.DECISION_UNREADABLE,
        Severity.FAULT,
        lambda s: truncate(s.path("plans/work/work/decision-0002.json")),
    ),
    "a state followed that cannot": (
        Code.DECISION_ILLEGAL,
        Severity.FAULT,
        lambda s: add_decision(s.path("plans/work/work"), state="succeeded"),
    ),
    "an attempt ran twice": (
        Code.DECISION_ILLEGAL,
        Severity.FAULT,
        lambda s: [
            rewrite(newest(s.path("plans/work/work")), state="queued"),
            add_decision(s.path("plans/work/work"), state="running"),
        ],
    ),
    "an unknown file": (Code.UNKNOWN_FILE, Severity.NOTE, lambda s: s.path("plans/work/work/notes").write_text("x")),
    "a folder in a file's place": (Code.UNKNOWN_FILE, Severity.NOTE, lambda s: s.path("responses/x.json").mkdir()),
    "an answer to no plan": (
        Code.RESPONSE_STRAY,
        Severity.NOTE,
        lambda s: shutil.copy(s.path("responses/work.json"), s.path("responses/other.json")),
    ),
    "a published answer was changed": (
        Code.RESPONSE_STRAY,
        Severity.NOTE,
        lambda s: [
            s.path("responses/work.json").unlink(),
            shutil.copy(s.path("responses/pair.json"), s.path("responses/work.json")),
        ],
    ),
    "the question itself is gone": (
        Code.ESCALATION_MISSING,
        Severity.FAULT,
        lambda s: s.path("plans/asks/asks/escalation-0001.json").unlink(),
    ),
    "a dropped file was taken": (
        Code.TAKEN_LEFT,
        Severity.NOTE,
        lambda s: s.path(f"control/.taken-{TOKEN}-work.retry").write_bytes(b""),
    ),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_only_a_person_or_the_daemon_can_end_is_said(spool: LivedIn, name: str):
    code, severity, damage = LEFT[name]
    damage(spool)
    found = spool.look()[code]
    assert severity in {one.severity for one in found}
    assert all(one.cure for one in found)
    _, left = spool.repair()
    assert code in {one.code for one in left}


def test_nothing_is_found_where_nothing_is_wrong_and_readers_may_take_answers_away(spool: LivedIn):
    for path in spool.path("responses").iterdir():
        path.unlink()
    assert spool.look() == {}
    assert spool.repair() == ([], [])
    assert list(spool.path("responses").iterdir()) == []


def test_what_the_next_daemon_settles_is_a_fault_where_a_daemon_has_not(spool: LivedIn):
    rename(spool, "tasks/succeeded/work", "tasks/running/work")
    assert spool.look()[Code.LINK_WRONG][0].severity is Severity.NOTE
    assert spool.look(daemon=1)[Code.LINK_WRONG][0].severity is Severity.FAULT
