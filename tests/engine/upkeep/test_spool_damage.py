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
    token = json.loads(spool.path("plans/single/plan.json").read_bytes())["token"]
    spool.path(f"incoming/.taken-{token}-single.json").write_bytes(b"{}")


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
        lambda s: s.path(f"plans/single/.response.json.{DEAD}-0a1b2c3d.tmp").write_text("{"),
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
        lambda s: rename(s, "tasks/succeeded/single", "tasks/running/single"),
    ),
    "a final link of an open task": (
        Code.LINK_WRONG,
        Severity.FAULT,
        lambda s: rename(s, "tasks/queued/later", "tasks/failed/later"),
    ),
    "a final link though nothing was published": (
        Code.RESPONSE_MISSING,
        Severity.FAULT,
        lambda s: [s.path("plans/single/single/response.json").unlink(), s.path("plans/single/response.json").unlink()],
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
        lambda s: shutil.copy(s.path("escalations/asks.json"), s.path("escalations/single.json")),
    ),
    "an older question is published": (
        Code.ESCALATION_STALE,
        Severity.NOTE,
        lambda s: s.path("escalations/asks.json").write_text("{}"),
    ),
    "a tombstone beside its plan": (
        Code.PRUNE_UNFINISHED,
        Severity.NOTE,
        lambda s: s.path("plans/.pruned/merged").write_text("{}"),
    ),
    "a plan that was being pruned": (
        Code.PRUNE_UNFINISHED,
        Severity.NOTE,
        lambda s: [s.path("plans/.pruned/pair").write_text("{}"), rename(s, "plans/pair", "plans/.pair.pruned")],
    ),
    "links and answers of a pruned plan": (
        Code.PRUNE_UNFINISHED,
        Severity.NOTE,
        lambda s: [s.path("plans/.pruned/broken").write_text("{}"), shutil.rmtree(s.path("plans/broken"))],
    ),
}


TOGETHER = (
    (
        "a folder is missing",
        "queue.json is torn",
        "day-spend.json is torn",
        "status.json is torn",
        "a durable write was cut short",
        "a plan was never admitted",
        "a request was admitted and not unlinked",
        "an open task has no link",
        "a finished task has no link",
        "an open link without a plan",
        "a log link is missing",
        "a log link of no task",
        "a question is not published",
    ),
    (
        "two links",
        "an open link of a finished task",
        "a task's answer is torn",
        "an open task has an answer",
        "a final link without a plan",
    ),
    (
        "a final link of an open task",
        "a final link though nothing was published",
        "a plan's answer is torn",
        "a tombstone beside its plan",
        "an older question is published",
    ),
    (
        "a link that names something else",
        "an answer is that of another end",
        "a rejection of an admitted plan",
        "an answered question is published",
    ),
    ("the last decision is torn", "a plan that was being pruned", "links and answers of a pruned plan"),
)
"""Damages that do not touch one another, made at once: each look and each repair takes its time."""


@pytest.mark.parametrize("names", TOGETHER, ids=lambda names: names[0])
def test_what_is_seen_and_mended(spool: LivedIn, names: tuple[str, ...]):
    for name in names:
        MENDED[name][2](spool)
    found = spool.look()
    for code, severity, _ in (MENDED[name] for name in names):
        assert code in found, code
        assert severity in {one.severity for one in found[code]}, found[code]
        assert all(one.cure for one in found[code])
    mended, left = spool.repair()
    assert left == []
    assert {MENDED[name][0] for name in names} <= {one.code for one in mended}
    assert spool.look() == {}


def test_each_damage_has_its_place():
    assert sorted(name for names in TOGETHER for name in names) == sorted(MENDED)
    assert sorted(name for names in LEFT_TOGETHER for name in names) == sorted(LEFT)


LEFT: dict[str, tuple[Code, Severity, Damage]] = {
    "plan.json is torn": (
        Code.PLAN_UNREADABLE,
        Severity.FAULT,
        lambda s: truncate(s.path("plans/single/plan.json")),
    ),
    "plan.json is missing": (
        Code.PLAN_UNREADABLE,
        Severity.FAULT,
        lambda s: s.path("plans/single/plan.json").unlink(),
    ),
    "plan.json is another plan's": (
        Code.PLAN_MISMATCH,
        Severity.FAULT,
        lambda s: shutil.copy(s.path("plans/pair/plan.json"), s.path("plans/single/plan.json")),
    ),
    "a task's folder is gone": (
        Code.PLAN_MISMATCH,
        Severity.FAULT,
        lambda s: shutil.rmtree(s.path("plans/pair/a")),
    ),
    "the request was changed": (
        Code.REQUEST_CHANGED,
        Severity.NOTE,
        lambda s: s.path("plans/merged/request.json").write_text("{}"),
    ),
    "a decision is missing": (
        Code.DECISION_MISSING,
        Severity.FAULT,
        lambda s: s.path("plans/broken/broken/decision-0002.json").unlink(),
    ),
    "a decision before the last is torn": (
        Code.DECISION_UNREADABLE,
        Severity.FAULT,
        lambda s: truncate(s.path("plans/merged/merged/decision-0002.json")),
    ),
    "a state followed that cannot": (
        Code.DECISION_ILLEGAL,
        Severity.FAULT,
        lambda s: add_decision(s.path("plans/broken/broken"), state="succeeded"),
    ),
    "an attempt ran twice": (
        Code.DECISION_ILLEGAL,
        Severity.FAULT,
        lambda s: [
            rewrite(newest(s.path("plans/broken/broken")), state="queued"),
            add_decision(s.path("plans/broken/broken"), state="running"),
        ],
    ),
    "an unknown file": (
        Code.UNKNOWN_FILE,
        Severity.NOTE,
        lambda s: s.path("plans/broken/broken/notes").write_text("x"),
    ),
    "a folder in a file's place": (Code.UNKNOWN_FILE, Severity.NOTE, lambda s: s.path("responses/x.json").mkdir()),
    "an answer to no plan": (
        Code.RESPONSE_STRAY,
        Severity.NOTE,
        lambda s: shutil.copy(s.path("responses/single.json"), s.path("responses/other.json")),
    ),
    "a published answer was changed": (
        Code.RESPONSE_STRAY,
        Severity.NOTE,
        lambda s: [
            s.path("responses/broken.json").unlink(),
            shutil.copy(s.path("responses/pair.json"), s.path("responses/broken.json")),
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
        lambda s: s.path(f"control/.taken-{TOKEN}-single.retry").write_bytes(b""),
    ),
}


LEFT_TOGETHER = (
    (
        "plan.json is torn",
        "a task's folder is gone",
        "the request was changed",
        "a decision is missing",
        "an unknown file",
        "a folder in a file's place",
        "an answer to no plan",
        "the question itself is gone",
        "a dropped file was taken",
    ),
    (
        "plan.json is missing",
        "a decision before the last is torn",
        "a published answer was changed",
        "a state followed that cannot",
    ),
    ("plan.json is another plan's", "an attempt ran twice"),
)


@pytest.mark.parametrize("names", LEFT_TOGETHER, ids=lambda names: names[0])
def test_what_only_a_person_or_the_daemon_can_end_is_said(spool: LivedIn, names: tuple[str, ...]):
    for name in names:
        LEFT[name][2](spool)
    found = spool.look()
    for code, severity, _ in (LEFT[name] for name in names):
        assert code in found, code
        assert severity in {one.severity for one in found[code]}
        assert all(one.cure for one in found[code])
    left = {one.code for one in spool.repair()[1]}
    assert {LEFT[name][0] for name in names} <= left


def test_nothing_is_found_where_nothing_is_wrong_and_readers_may_take_answers_away(spool: LivedIn):
    for path in spool.path("responses").iterdir():
        path.unlink()
    assert spool.look() == {}
    assert spool.repair() == ([], [])
    assert list(spool.path("responses").iterdir()) == []


def test_what_the_next_daemon_settles_is_a_fault_where_a_daemon_has_not(spool: LivedIn):
    rename(spool, "tasks/succeeded/single", "tasks/running/single")
    assert spool.look()[Code.LINK_WRONG][0].severity is Severity.NOTE
    assert spool.look(daemon=1)[Code.LINK_WRONG][0].severity is Severity.FAULT
