"""Plans of open tasks in memory: what was not used for long is packed, and is the same when it is asked for again."""

from __future__ import annotations

from tests.support.laid_out import first_decision, make_plan

from haikud.contracts.states import TaskState
from haikud.engine.board import Board
from haikud.engine.plan_shelf import KeptPlan, PlanShelf, pack
from haikud.spool.models import dump_as_is


def test_the_plans_used_last_stay_unpacked():
    shelf = PlanShelf(most_tasks=2, least_plans=1)
    plans = [make_plan(f"p{number}", 1) for number in range(3)]
    kept = [KeptPlan(plan, shelf) for plan in plans]
    assert [one.is_packed for one in kept] == [True, False, False]
    assert kept[0].plan == plans[0]
    assert [one.is_packed for one in kept] == [False, True, False]
    assert kept[2].plan is plans[2]


def test_a_plan_with_very_many_tasks_is_unpacked_while_it_is_used():
    shelf = PlanShelf(most_tasks=2, least_plans=1)
    large, small = KeptPlan(make_plan("large", 5), shelf), KeptPlan(make_plan("small", 1), shelf)
    assert large.is_packed
    assert large.plan is large.plan
    assert small.is_packed


def test_a_large_plan_is_not_unpacked_in_turns_with_small_ones():
    shelf = PlanShelf()
    large, small = KeptPlan(make_plan("large", 500), shelf), KeptPlan(make_plan("small", 1), shelf)
    assert (large.is_packed, small.is_packed) == (False, False)
    assert large.plan is large.plan
    assert not small.is_packed


def test_a_plan_that_left_is_not_worth_packing_and_can_still_be_read():
    shelf = PlanShelf(most_tasks=1, least_plans=1)
    left = KeptPlan(make_plan("left", 1), shelf)
    left.leave()
    others = [KeptPlan(make_plan(f"p{number}", 1), shelf) for number in range(3)]
    assert not left.is_packed
    assert [one.is_packed for one in others] == [True, True, False]
    assert left.plan.id == "left"


def test_of_many_queued_tasks_the_board_keeps_few_plans_unpacked_and_reads_them_all():
    board = Board()
    for number in range(500):
        plan = make_plan(f"p{number}", 1)
        board.add_plan(plan, {}, {})
        board.add_task(plan, plan.tasks[0], first_decision(plan.tasks[0]))
    assert sum(not owner.is_packed for owner in board.plans.values()) <= 300
    entry = board.tasks["p7"]
    assert entry.owner.is_packed
    assert (entry.plan.id, entry.task.title) == ("p7", entry.title)
    assert {one.ref for one in board.line} == set(board.tasks)
    assert board.count(TaskState.QUEUED) == 500


def test_a_plan_that_was_read_from_its_file_is_kept_as_that_file_has_it():
    shelf, plan = PlanShelf(most_tasks=1, least_plans=1), make_plan("read", 2)
    kept = KeptPlan(plan, shelf, pack(dump_as_is(plan)))
    KeptPlan(make_plan("other", 1), shelf)
    assert kept.is_packed
    assert kept.plan == plan
