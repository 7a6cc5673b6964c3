"""Who starts next: priority, age, place in the plan; limits; declared files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from haikud.contracts.states import Priority
from haikud.engine.scheduler import Candidate, pick_next

T0 = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)


def task(
    ref: str, *, priority: Priority = Priority.MEDIUM, age: int = 0, place: int = 0, repo: str = "r", files: str = ""
) -> Candidate:
    rank = (priority.rank, T0 + timedelta(seconds=age), ref.partition(".")[0], place)
    return Candidate(ref, rank, repo, frozenset(files.split()))


def chosen(queued: list[Candidate], running: list[Candidate] = [], **limits: object) -> str | None:  # noqa: B006
    ordered = sorted(queued, key=lambda one: one.rank)
    picked = pick_next(ordered, running, **{"max_agents": 8, **limits}).chosen  # type: ignore[arg-type]
    return picked.ref if picked else None


def test_priority_goes_before_age_and_age_before_place():
    assert chosen([task("old"), task("urgent", priority=Priority.HIGH, age=9)]) == "urgent"
    assert chosen([task("young", age=5), task("old", age=1)]) == "old"
    assert chosen([task("p.b", place=1), task("p.a", place=0)]) == "p.a"


def test_nothing_starts_beyond_the_limit():
    assert chosen([task("a")], [task("x"), task("y")], max_agents=2) is None
    assert chosen([task("a")], [task("x")], max_agents=2) == "a"


def test_a_full_repository_lets_others_go_first():
    queued = [task("first"), task("second", age=1, repo="other")]
    assert chosen(queued, [task("x")], per_repository=1) == "second"
    assert chosen(queued[:1], [task("x")], per_repository=1) is None


def test_tasks_without_a_repository_have_no_such_limit():
    without = Candidate("free", task("free").rank)
    assert chosen([without], [task("x")], per_repository=1) == "free"


def test_the_later_of_two_that_declare_the_same_file_waits_and_we_know_for_whom():
    running = [task("first", files="a.py b.py")]
    pick = pick_next([task("second", files="b.py c.py"), task("third", files="d.py")], running, max_agents=8)
    assert pick.chosen is not None
    assert pick.chosen.ref == "third"
    assert pick.held_back == {"second": ("first", "b.py")}


def test_the_same_file_in_another_repository_is_another_file():
    assert chosen([task("a", files="x.py", repo="one")], [task("b", files="x.py", repo="two")]) == "a"


def test_who_is_passed_over_does_not_start():
    assert chosen([task("a"), task("b", age=1)], passed_over=frozenset({"a"})) == "b"
