"""The engine's small parts: the board, the day's spending, trouble, names of dropped files, progress."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from tests.support.made import NOW, make_decision, make_plan, make_task

from haikud.contracts.attempt import AttemptEvent, EventKind
from haikud.contracts.guidance import DroppedGuidance, GuidanceAction
from haikud.contracts.live import TaskStatus
from haikud.contracts.states import Phase, Priority, TaskState
from haikud.contracts.usage import UsageEntry, UsageTotal
from haikud.engine.attempts.tail import advance, read_on
from haikud.engine.board import Board, Progress
from haikud.engine.budgets import next_midnight
from haikud.engine.day_spend import read_day_spend
from haikud.engine.drops.controls import read_command
from haikud.engine.drops.filesystem import silent_filesystem
from haikud.engine.drops.guidance import check_names_question, read_guidance, ref_of
from haikud.engine.drops.targets import NoSense
from haikud.engine.engine import next_decision
from haikud.engine.secrets import Secrets
from haikud.spool.drops import Taken
from haikud.spool.layout import AttemptPaths, SpoolLayout


def queued_board() -> Board:
    plan = make_plan(make_task("a"), make_task("b", priority=Priority.HIGH), make_task("c", dependencies=["a"]))
    board = Board()
    board.add_plan(plan, {}, {"a": UsageTotal(cost_usd=0.1)})
    for task in plan.tasks:
        state = TaskState.WAITING if task.dependencies else TaskState.QUEUED
        board.add_task(plan, task, make_decision(state, number=1, ref=task.ref, attempt=0))
    return board


def test_the_board_keeps_the_queue_in_order_while_tasks_come_and_go():
    board = queued_board()
    assert [one.ref for one in board.line] == ["p.b", "p.a"]
    entry = board.tasks["p.b"]
    board.move(entry, next_decision(entry.decision, TaskState.RUNNING, "", NOW, attempt=1))
    assert [one.ref for one in board.line] == ["p.a"]
    board.move(entry, next_decision(entry.decision, TaskState.QUEUED, "", NOW))
    assert [one.ref for one in board.line] == ["p.b", "p.a"]
    assert board.count(TaskState.WAITING) == 1


def test_a_plan_leaves_the_board_with_its_last_task():
    board = queued_board()
    for name in ("a", "b", "c"):
        entry = board.tasks[f"p.{name}"]
        if entry.state is TaskState.QUEUED:
            board.move(entry, next_decision(entry.decision, TaskState.RUNNING, "", NOW, attempt=1))
        board.move(entry, next_decision(entry.decision, TaskState.FAILED, "", NOW))
        shown = TaskStatus(ref=entry.ref, plan="p", title="", state="failed", role="", priority="medium", since=NOW)
        board.remove(entry, shown)
    assert (board.tasks, board.plans) == ({}, {})
    assert board.finished_counts == {TaskState.FAILED: 3}
    assert [one.ref for one in board.finished] == ["p.c", "p.b", "p.a"]


def test_a_retried_task_is_neither_shown_nor_counted_as_finished():
    board = queued_board()
    entry = board.tasks["p.b"]
    board.move(entry, next_decision(entry.decision, TaskState.RUNNING, "", NOW, attempt=1))
    board.move(entry, next_decision(entry.decision, TaskState.FAILED, "", NOW))
    shown = TaskStatus(ref=entry.ref, plan="p", title="", state="failed", role="", priority="medium", since=NOW)
    board.remove(entry, shown)
    board.add_task(entry.plan, entry.task, next_decision(entry.decision, TaskState.QUEUED, "retry", NOW))
    assert not board.finished
    assert board.finished_counts == {TaskState.FAILED: 0}


def test_a_pruned_plan_is_neither_shown_nor_counted_as_finished():
    board = queued_board()
    for name, plan in (("a", "p"), ("b", "gone"), ("c", "kept")):  # p is open, so nobody is asked about it
        entry = board.tasks["p.a"] if name == "a" else board.tasks[f"p.{name}"]
        board.finished.append(
            TaskStatus(
                ref=f"{plan}.{name}", plan=plan, title="", state="failed", role=entry.role, priority="medium", since=NOW
            )
        )
    board.finished_counts = {TaskState.FAILED: 3}
    board.forget_pruned({"p", "gone"}.__contains__)
    assert [one.ref for one in board.finished] == ["p.a", "kept.c"]
    assert board.finished_counts == {TaskState.FAILED: 2}


def test_what_running_attempts_have_spent_so_far_counts_for_their_plan():
    board = queued_board()
    entry = board.tasks["p.a"]
    entry.progress.cost_usd = 0.4
    assert board.running_usd("p") == 0
    board.move(entry, next_decision(entry.decision, TaskState.RUNNING, "", NOW, attempt=1))
    assert board.running_usd("p") == 0.4
    assert board.running_usd("other") == 0


def test_an_illegal_move_is_a_bug_and_said_so():
    with pytest.raises(ValueError, match="illegal move"):
        next_decision(make_decision(TaskState.SUCCEEDED), TaskState.QUEUED, "", NOW)


def test_the_days_spending_survives_a_restart_and_ends_with_the_day(tmp_path: Path):
    spend = read_day_spend(SpoolLayout(tmp_path), NOW)
    spend.count("p.1", 1.5, NOW)
    assert read_day_spend(SpoolLayout(tmp_path), NOW).at(NOW) == 1.5
    assert read_day_spend(SpoolLayout(tmp_path), NOW + timedelta(days=1)).at(NOW + timedelta(days=1)) == 0
    again = read_day_spend(SpoolLayout(tmp_path), NOW)
    again.count("p.1", 1.5, NOW)  # as after a crash between this file and the decision that settles the attempt
    again.count("p.2", 0.25, NOW)
    assert read_day_spend(SpoolLayout(tmp_path), NOW).at(NOW) == 1.75
    again.hear(0.1, NOW)  # by the gateway, whose journal keeps it
    assert again.at(NOW) == 1.85
    again.hear(0.2, NOW)
    assert again.at(NOW) == 1.95
    assert spend.at(next_midnight(NOW)) == again.at(next_midnight(NOW)) == 0


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"day": 7}', b'{"cost_usd": "x", "day": "2026-11-02"}'])
def test_a_broken_record_of_the_day_counts_as_nothing_spent(tmp_path: Path, content: bytes):
    (tmp_path / "day-spend.json").write_bytes(content)
    assert read_day_spend(SpoolLayout(tmp_path), NOW).at(NOW) == 0


def test_secrets_do_not_show():
    assert "sk-" not in repr(Secrets("sk-ant-1", "http://127.0.0.1"))


@pytest.mark.parametrize(
    ("name", "command"),
    [("p.cancel", ("p", "cancel")), ("p.t.retry", ("p.t", "retry")), ("all.stop-now", ("all", "stop-now"))],
)
def test_control_files_are_read_by_their_names(name: str, command: tuple[str, str]):
    assert read_command(taken(name)) == command


@pytest.mark.parametrize("name", ["cancel", "p.stop", "all.cancel", "p.cancel.txt", "p."])
def test_other_names_mean_nothing(name: str):
    with pytest.raises(NoSense, match="control files are called"):
        read_command(taken(name))


def taken(name: str) -> Taken:
    return Taken("0" * 16, name, Path(name), b"", None, 0.0)


def test_guidance_is_named_after_the_task():
    assert [ref_of(name) for name in ("p.json", "p.t.md", "p.t.txt")] == ["p", "p.t", "p.t"]
    with pytest.raises(NoSense):
        ref_of("p.yaml")


def test_guidance_is_text_or_json_bare_or_in_an_envelope():
    assert read_guidance("p.txt", b" use the first \n").guidance == "use the first"
    bare = read_guidance("p.json", b'{"guidance": "x", "escalation_id": "p.e1"}')
    assert bare.escalation_id == "p.e1"
    enveloped = read_guidance("p.json", b'{"message_type": "guidance", "payload": {"action": "cancel"}}')
    assert enveloped.action is GuidanceAction.CANCEL


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b'{"guidance": ""}', b'{"action": "dance"}', b'{"action": "reassign"}', b"\xff"]
)
def test_guidance_that_says_nothing_is_told_so(content: bytes):
    with pytest.raises(NoSense):
        read_guidance("p.json", content)


def test_guidance_that_names_a_question_must_name_the_open_one():
    check_names_question(DroppedGuidance(guidance="x"), "p.e2")
    check_names_question(DroppedGuidance(escalation_id="p.e2"), "p.e2")
    with pytest.raises(NoSense, match=r"it answers p\.e1, but the open question is p\.e2"):
        check_names_question(DroppedGuidance(escalation_id="p.e1"), "p.e2")


def test_guidance_may_carry_metadata_and_says_what_it_does_not_understand():
    outer = b'{"message_type": "guidance", "metadata": {"cost_usd": 0.01}, "payload": {"guidance": "x"}}'
    assert read_guidance("p.json", outer).metadata == {"cost_usd": 0.01}
    assert read_guidance("p.json", b'{"guidance": "x", "metadata": {"a": [1]}}').metadata == {"a": [1]}
    with pytest.raises(NoSense, match="it has no `guidance`, but answer"):
        read_guidance("p.json", b'{"answer": "x"}')
    deep = b'{"guidance": "x", "metadata": ' + b'{"a":' * 40 + b"1" + b"}" * 41
    with pytest.raises(NoSense, match="nested deeper than 32"):
        read_guidance("p.json", deep)


def test_progress_is_read_on_and_a_torn_line_waits_for_its_end(tmp_path: Path):
    paths = AttemptPaths(tmp_path)
    first = AttemptEvent(at=NOW, kind=EventKind.PHASE, phase=Phase.IMPLEMENT, percent=30, message="implementing")
    paid = AttemptEvent(
        at=NOW,
        kind=EventKind.USAGE,
        usage=UsageEntry(at=NOW, model="m", input_tokens=10, output_tokens=5, cost_usd=0.5),
    )
    line = first.model_dump_json().encode() + b"\n"
    paths.events.write_bytes(line + b'{"at": "2026')
    progress = read_on(paths, Progress())
    assert (progress.phase, progress.percent, progress.offset) == ("implement", 30, len(line))
    paths.events.write_bytes(line + b"no json\n" + paid.model_dump_json().encode() + b"\n")
    progress = read_on(paths, progress)
    assert (progress.cost_usd, progress.tokens_used, progress.message) == (0.5, 15, "implementing")
    assert read_on(paths, progress) is progress


def test_a_fifo_in_the_events_place_is_not_waited_for(tmp_path: Path):
    paths = AttemptPaths(tmp_path)
    os.mkfifo(paths.events)
    before = Progress(percent=5)
    assert read_on(paths, before) == before


def test_progress_keeps_what_an_event_does_not_say():
    before = Progress(offset=3, phase="validate", percent=80, message="testing")
    assert advance(before, [AttemptEvent(at=NOW, kind=EventKind.NOTE)], 9) == Progress(9, "validate", 80, "testing")


def test_the_filesystem_of_the_tests_makes_events(tmp_path: Path):
    assert silent_filesystem(tmp_path) is None
    assert silent_filesystem(tmp_path / "missing") is None
