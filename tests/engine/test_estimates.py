"""Estimates of cost and time, and what they are from. Pure."""

from __future__ import annotations

from pathlib import Path

import pytest

from haikud.contracts.role_history import MOST_ROLES, MOST_TASKS, FinishedTask
from haikud.engine.estimates import Ahead, done_in, done_in_waves, estimated_cost, median, savings
from haikud.engine.role_history import RoleHistory, read_role_history, write_role_history
from haikud.spool.layout import SpoolLayout


def took(usd: float, sonnet: float = 0.0, seconds: float = 60.0) -> FinishedTask:
    return FinishedTask(cost_usd=usd, sonnet_cost_usd=sonnet, seconds=seconds)


@pytest.mark.parametrize(("values", "middle"), [([3], 3), ([4, 1], 2.5), ([9, 1, 2], 2), ([1, 2, 3, 100], 2.5)])
def test_the_median_is_the_middle_one(values: list[float], middle: float):
    assert median(values) == middle
    with pytest.raises(ValueError, match="no values"):
        median([])


def test_a_task_is_estimated_at_what_its_like_cost_or_at_what_it_has_spent():
    assert estimated_cost(0.02, 0.04) == 0.04
    assert estimated_cost(0.05, 0.04) == 0.05
    assert estimated_cost(0.0, 0.0) == 0.0  # a command agent's


def test_savings_are_computed_and_may_be_none_or_below():
    assert savings(0.12, 0.78) == (0.66, 84.6)
    assert savings(0.0, 0.0) == (0.0, 0.0)
    assert savings(0.3, 0.2) == (-0.1, -50.0)


def test_tasks_run_side_by_side_in_waves():
    tasks = [Ahead(f"t{n}", 60) for n in range(5)]
    assert max(done_in(tasks, 5).values()) == 60
    assert max(done_in(tasks, 2).values()) == 180
    assert done_in(tasks, 2) == {"t0": 60, "t1": 60, "t2": 120, "t3": 120, "t4": 180}
    assert max(done_in(tasks, 1).values()) == 300
    assert done_in([], 4) == {}


def test_what_runs_keeps_its_agent_until_it_ends():
    tasks = [Ahead("queued", 60), Ahead("runs", 20, is_running=True)]
    assert done_in(tasks, 1) == {"runs": 20, "queued": 80}
    assert done_in(tasks, 2) == {"runs": 20, "queued": 60}
    # More run than there are agents now, since the settings were changed: nothing starts before there is room.
    more = [*tasks, Ahead("runs too", 30, is_running=True)]
    assert done_in(more, 1) == {"runs": 20, "runs too": 30, "queued": 90}


def test_a_task_waits_for_the_last_of_its_dependencies_and_a_deferred_one_for_its_time():
    tasks = [
        Ahead("last", 10, after=("a", "b")),
        Ahead("a", 60),
        Ahead("b", 20, after=("a", "gone")),  # what is not there is done
        Ahead("later", 5, starts_in=100),
    ]
    assert done_in(tasks, 8) == {"a": 60, "b": 80, "last": 90, "later": 105}
    assert max(done_in(tasks, 1).values()) == 105


def test_an_estimate_of_time_is_never_negative_and_always_ends():
    overdue = [Ahead("a", -30, is_running=True), Ahead("b", -1, starts_in=-5)]
    assert done_in(overdue, 0) == {"a": 0, "b": 0}
    assert done_in([Ahead("x", 1, after=("y",)), Ahead("y", 1, after=("x",)), Ahead("z", 1)], 1) == {"z": 1}


def test_very_many_tasks_are_shared_out_over_the_agents():
    assert done_in_waves([], {"r": 1000}, {"r": 60}, 8) == 7500
    assert done_in_waves([900, -5], {"r": 2}, {"r": 60}, 8) == 900  # the longest that runs is waited for anyway
    assert done_in_waves([], {}, {}, 0) == 0


def test_a_roles_history_is_its_last_tasks_and_estimates_by_their_medians(tmp_path: Path):
    history = RoleHistory(tmp_path / "role-history.json")
    assert history.typical("tester") is None
    for usd, sonnet, seconds in ((0.04, 0.3, 100), (0.02, 0.1, 300), (9.0, 0.2, 200)):
        history.add("tester", took(usd, sonnet, seconds))
    typical = history.typical("tester")
    assert typical is not None
    assert (typical.cost_usd, typical.sonnet_cost_usd, typical.seconds, typical.tasks) == (0.04, 0.2, 200, 3)
    for _ in range(MOST_TASKS):
        history.add("tester", took(0.01))
    again = history.typical("tester")
    assert again is not None
    assert (again.cost_usd, again.tasks) == (0.01, MOST_TASKS)
    assert history.typical("other") is None


def test_the_history_does_not_grow_with_roles(tmp_path: Path):
    history = RoleHistory(tmp_path / "role-history.json")
    for number in range(MOST_ROLES + 3):
        history.add("busy", took(0.01))
        history.add(f"role-{number}", took(0.01))
    assert len(history.roles) == MOST_ROLES
    assert history.typical("busy") is not None
    assert history.typical("role-0") is None


def test_the_history_outlives_the_daemon_and_may_be_lost(tmp_path: Path):
    layout = SpoolLayout(tmp_path)
    history = read_role_history(layout)
    assert history.roles == {}
    history.add("tester", took(0.04))
    assert write_role_history(history.path, history.record())
    again = read_role_history(layout)
    assert again.roles == history.roles
    assert not again.is_changed
    for broken in (b"", b"\0" * 10, b'{"roles": {"tester": [{"cost_usd": -1, "seconds": 0}]}}', b"[]"):
        layout.role_history_file.write_bytes(broken)  # what a power cut leaves of it
        assert read_role_history(layout).roles == {}
    assert not write_role_history(tmp_path / "nowhere" / "x.json", history.record())
