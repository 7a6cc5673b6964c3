"""States, moves and priorities."""

from __future__ import annotations

import itertools

import pytest

from haikud.contracts.states import (
    ALLOWED_MOVES,
    FINAL_STATES,
    OPEN_STATES,
    AttemptOutcome,
    Phase,
    Priority,
    TaskState,
    check_move,
    is_final,
)


def test_every_state_has_its_moves_and_no_state_moves_to_itself():
    assert set(ALLOWED_MOVES) == set(TaskState)
    for state, targets in ALLOWED_MOVES.items():
        assert state not in targets
        assert targets <= set(TaskState)


def test_final_and_open_states_are_all_states():
    assert frozenset(TaskState) == FINAL_STATES | OPEN_STATES
    assert not FINAL_STATES & OPEN_STATES
    assert [state for state in TaskState if is_final(state)] == ["succeeded", "failed", "cancelled"]


def test_what_succeeded_never_moves_and_what_failed_only_by_a_retry():
    assert ALLOWED_MOVES[TaskState.SUCCEEDED] == frozenset()
    for state in (TaskState.FAILED, TaskState.CANCELLED):
        assert ALLOWED_MOVES[state] == {TaskState.QUEUED, TaskState.WAITING}


def test_every_open_state_can_be_cancelled_and_only_queued_tasks_start():
    for state in OPEN_STATES:
        assert TaskState.CANCELLED in ALLOWED_MOVES[state]
        assert TaskState.FAILED in ALLOWED_MOVES[state]
    assert [s for s, targets in ALLOWED_MOVES.items() if TaskState.RUNNING in targets] == [TaskState.QUEUED]
    assert [s for s, targets in ALLOWED_MOVES.items() if TaskState.SUCCEEDED in targets] == [TaskState.RUNNING]


@pytest.mark.parametrize(("current", "to"), list(itertools.product(TaskState, TaskState)))
def test_check_move_says_what_the_table_says(current: TaskState, to: TaskState):
    if to in ALLOWED_MOVES[current]:
        check_move(current, to)
    else:
        with pytest.raises(ValueError, match=f"{current} -> {to}"):
            check_move(current, to)


def test_priorities_in_order():
    assert [priority.rank for priority in Priority] == [0, 1, 2, 3, 4]
    assert list(Priority) == ["blocker", "critical", "high", "medium", "low"]


def test_outcomes_and_phases_are_those_of_the_design():
    assert list(Phase) == ["setup", "implement", "validate", "deliver", "report"]
    assert len(AttemptOutcome) == 15
    assert set(AttemptOutcome) >= {"orphaned", "interrupted", "quota", "lost", "unknown"}
