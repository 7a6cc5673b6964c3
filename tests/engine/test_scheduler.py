"""Who starts next: priority, age, place in the plan; limits; declared files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from haikud.contracts.states import Priority
from haikud.engine.scheduler import Candidate, Line, pick_next, rival_of

T0 = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)


def task(
    ref: str, *, priority: Priority = Priority.MEDIUM, age: int = 0, place: int = 0, repo: str = "r", files: str = ""
) -> Candidate:
    rank = (priority.rank, T0 + timedelta(seconds=age), ref.partition(".")[0], place)
    return Candidate(ref, rank, repo, frozenset(files.split()))


def chosen(queued: list[Candidate], running: list[Candidate] = [], **limits: object) -> str | None:  # noqa: B006
    picked = pick_next(Line(queued), running, **{"max_agents": 8, **limits}).chosen  # type: ignore[arg-type]
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
    line = Line([task("second", files="b.py c.py"), task("third", files="d.py")])
    pick = pick_next(line, running, max_agents=8)
    assert pick.chosen is not None
    assert pick.chosen.ref == "third"
    assert pick.held_back == {"second": ("first", "b.py")}


def test_the_same_file_in_another_repository_is_another_file():
    assert chosen([task("a", files="x.py", repo="one")], [task("b", files="x.py", repo="two")]) == "a"


def test_who_may_not_start_in_this_round_does_not():
    assert chosen([task("a"), task("b", age=1)], may_start=lambda ref: ref != "a") == "b"


def test_a_closed_repository_is_passed_over_as_a_whole():
    queued = [task("a"), task("b", age=1), task("c", age=2, repo="other")]
    assert chosen(queued, closed={"r"}) == "c"


def test_repositories_take_turns_by_rank():
    line = Line(task(f"t{age}", age=age, repo=f"r{age % 3}") for age in (4, 0, 5, 2, 1, 3))
    assert started(line) == [f"t{age}" for age in range(6)]


def test_those_that_wait_for_a_file_start_in_their_order_as_it_becomes_free():
    line = Line([task(f"t{age}", age=age, files=f"common.py own{age}.py") for age in range(4)])
    line.add(task("free", age=9, files="other.py"))
    running = [task("first", files="common.py")]
    pick = pick_next(line, running, max_agents=8)
    assert pick.chosen is not None
    assert pick.chosen.ref == "free"
    assert list(pick.held_back) == ["t0", "t1", "t2", "t3"]
    assert not pick_next(line, running, max_agents=8).held_back  # they stand aside
    line.remove(pick.chosen)
    running = [pick.chosen]
    order = []
    while (found := pick_next(line, running, max_agents=8).chosen) is not None:
        order.append(found.ref)
        line.remove(found)
        running = [found]  # the one before has ended
        assert rival_of(task("late", files="common.py"), running) == found.ref
    assert order == ["t0"]  # the next one is held back by the one that runs
    assert started(line) == ["t1", "t2", "t3"]


def test_who_stands_aside_may_leave_and_come_back():
    line = Line([task("a", files="x.py"), task("b", age=1, files="x.py y.py")])
    running = [task("at work", files="x.py")]
    assert pick_next(line, running, max_agents=8).chosen is None
    line.remove(task("a", files="x.py"))
    assert [one.ref for one in line] == ["b"]
    running = [task("at work", files="y.py")]
    assert pick_next(line, running, max_agents=8).held_back == {"b": ("at work", "y.py")}
    line.add(task("a", files="x.py"))
    assert started(line) == ["a", "b"]
    assert list(line) == []


def test_who_is_next_is_found_as_fast_behind_ten_thousand_that_may_not_start():
    line = Line(task(f"t{age}", age=age, files=f"common.py own{age}.py") for age in range(10_000))
    line.add(task("elsewhere", age=20_000, repo="other"))
    running = [task("at work", files="common.py")]
    pick_next(line, running, max_agents=8)  # all stand aside now
    asked: list[str] = []

    def ask(ref: str) -> bool:
        asked.append(ref)
        return True

    picked = pick_next(line, running, max_agents=8, may_start=ask)
    assert (picked.chosen.ref if picked.chosen else "", asked, picked.held_back) == ("elsewhere", ["elsewhere"], {})


def started(line: Line) -> list[str]:
    """Everything in the line, one at a time."""
    order = []
    while (found := pick_next(line, [], max_agents=1).chosen) is not None:
        order.append(found.ref)
        line.remove(found)
    return order
