"""The store: plans appear whole or not at all, decisions follow one another, links follow decisions."""

from __future__ import annotations

import os
import random
import resource
import shutil
import stat
from pathlib import Path

import pytest
from tests.spool.dying import every_death
from tests.spool.records import REQUEST, OrderAtOnce, decide_on, first_decisions, make_plan

from haikud.contracts.states import ALLOWED_MOVES, FINAL_STATES, OPEN_STATES, TaskState
from haikud.spool.batch import Batch
from haikud.spool.layout import SpoolLayout
from haikud.spool.store import Admission, Store

QUEUED, RUNNING, DEFERRED, SUCCEEDED, FAILED = (
    TaskState.QUEUED,
    TaskState.RUNNING,
    TaskState.DEFERRED,
    TaskState.SUCCEEDED,
    TaskState.FAILED,
)
REF = "plan-1.a"


@pytest.fixture
def store(layout: SpoolLayout) -> Store:
    return Store(layout)


@pytest.fixture
def admitted(store: Store) -> Store:
    plan = make_plan()
    store.admit(plan, REQUEST, first_decisions(plan))
    return store


def everything(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def links(store: Store) -> dict[str, list[str]]:
    tasks = store.layout.tasks
    return {
        state.name: sorted(link.name for link in state.iterdir()) for state in tasks.iterdir() if any(state.iterdir())
    }


def test_an_admitted_plan_is_all_there(admitted: Store):
    layout = admitted.layout
    assert admitted.plan("plan-1") == make_plan()
    assert admitted.plan_ids() == ["plan-1"]
    assert admitted.has_plan("plan-1")
    assert (layout.plan("plan-1").folder / "request.json").read_bytes() == REQUEST
    assert links(admitted) == {"queued": ["plan-1.a", "plan-1.b"]}
    assert admitted.open_refs() == {"plan-1.a": QUEUED, "plan-1.b": QUEUED}
    for ref in ("plan-1.a", "plan-1.b"):
        assert admitted.linked_state(ref) is QUEUED
        assert layout.link(QUEUED, ref).resolve() == layout.task(ref).folder
        assert layout.log_link(ref).resolve() == layout.task(ref).log
        assert layout.log_link(ref).read_bytes() == b""
        assert admitted.last_decision(ref) == decide_on(ref, 1, QUEUED)
    for path in layout.plans.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_a_single_task_that_bears_its_plans_id(store: Store):
    plan = make_plan("solo", ("solo",))
    store.admit(plan, REQUEST, first_decisions(plan))
    assert store.open_refs() == {"solo": QUEUED}
    assert store.layout.link(QUEUED, "solo").resolve() == store.layout.plans / "solo" / "solo"


def test_an_id_is_used_once_and_stays_used(admitted: Store):
    plan = make_plan()
    with pytest.raises(FileExistsError, match="plan-1"):
        admitted.admit(plan, REQUEST, first_decisions(plan))
    pruned = make_plan("gone")
    (admitted.layout.pruned / "gone").touch()
    assert admitted.is_pruned("gone")
    with pytest.raises(FileExistsError):
        admitted.admit(pruned, REQUEST, first_decisions(pruned))
    assert not admitted.has_plan("gone")
    assert not admitted.is_pruned("plan-1")


def test_there_is_no_plan_of_a_name_that_is_no_id(admitted: Store):
    for name in ("..", ".pruned", "a/b", "", "all"):
        assert not admitted.has_plan(name)
        assert not admitted.is_pruned(name)
    assert admitted.plan("none") is None
    assert admitted.last_decision("none.t") is None
    assert admitted.decisions("none") == []


def test_first_decisions_must_fit_the_plan(store: Store):
    plan = make_plan()
    good = first_decisions(plan)
    bad = [
        {"a": good["a"]},
        {**good, "a": decide_on("plan-1.b", 1, QUEUED)},
        {**good, "a": decide_on(REF, 2, QUEUED)},
        {**good, "a": decide_on(REF, 1, SUCCEEDED)},
    ]
    before = everything(store.layout.root)
    for decisions in bad:
        with pytest.raises(ValueError, match="plan-1"):
            store.admit(plan, REQUEST, decisions)
    for decision in (decide_on(REF, 3, RUNNING), decide_on("plan-1.b", 2, RUNNING), decide_on(REF, 2, SUCCEEDED)):
        with pytest.raises(ValueError, match=r"plan-1|queued"):
            store.admit_together([Admission(plan, REQUEST, good, {"a": OrderAtOnce(decision)})], Batch())
    assert everything(store.layout.root) == before


@pytest.mark.parametrize("runs", [False, True])
def test_an_admission_killed_at_any_step_is_whole_or_leaves_nothing(store: Store, *, runs: bool):
    layout = store.layout
    before = everything(layout.root)
    ended, plan = False, make_plan()
    orders = {"a": OrderAtOnce(decide_on(REF, 2, RUNNING))} if runs else {}
    admission = Admission(plan, REQUEST, first_decisions(plan), orders)
    for _, ended in every_death(lambda _: lambda: store.admit_together([admission], Batch())):
        if ended:
            break
        assert not store.has_plan("plan-1")
        store.recover_builds()
        store.drop_links_without_plan()
        assert everything(layout.root) == before
    assert ended
    assert store.recover_builds() == []
    assert store.drop_links_without_plan() == []
    assert set(store.open_refs()) == {"plan-1.a", "plan-1.b"}
    assert store.linked_state(REF) is (RUNNING if runs else QUEUED)
    assert len(store.decisions(REF)) == (2 if runs else 1)


def test_an_admission_goes_over_what_a_dead_one_left(store: Store):
    plan = make_plan()
    build = store.layout.plan_being_built("plan-1").folder
    (build / "a").mkdir(parents=True)
    (build / "a" / "junk").touch()
    store.layout.link(QUEUED, REF).symlink_to("nowhere")
    store.admit(plan, REQUEST, first_decisions(plan))
    assert store.layout.link(QUEUED, REF).resolve() == store.layout.task(REF).folder
    assert not (store.layout.task(REF).folder / "junk").exists()


def test_an_admission_that_fails_leaves_nothing(store: Store):
    before = everything(store.layout.root)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="cannot write"):
            store.admit(make_plan(), b"x" * 5000, first_decisions(make_plan()))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert everything(store.layout.root) == before


def test_a_decision_is_followed_by_its_link(admitted: Store):
    running = decide_on(REF, 2, RUNNING, attempt=1)
    admitted.decide(running)
    assert admitted.last_decision(REF) == running
    assert admitted.decisions(REF) == [decide_on(REF, 1, QUEUED), running]
    assert links(admitted) == {"queued": ["plan-1.b"], "running": ["plan-1.a"]}
    admitted.decide(decide_on(REF, 3, SUCCEEDED, attempt=1), settle_link=False)
    assert admitted.linked_state(REF) is RUNNING
    admitted.move_link(REF, SUCCEEDED, durable=True)
    assert admitted.linked_state(REF) is SUCCEEDED
    assert admitted.open_refs() == {"plan-1.b": QUEUED}


@pytest.mark.parametrize(("number", "state"), [(1, RUNNING), (3, RUNNING), (2, QUEUED), (2, SUCCEEDED)])
def test_a_wrong_number_or_move_is_our_bug_and_changes_nothing(admitted: Store, number: int, state: TaskState):
    before = everything(admitted.layout.root)
    with pytest.raises(ValueError, match=r"does not follow|illegal move"):
        admitted.decide(decide_on(REF, number, state))
    assert everything(admitted.layout.root) == before


@pytest.mark.parametrize("broken", [b"", b"\0" * 300, b'{"format": 1', b"{}"])
def test_a_broken_decision_was_never_anybodys_word(admitted: Store, broken: bytes):
    admitted.layout.task(REF).decision(2).write_bytes(broken)
    assert admitted.last_decision(REF) == decide_on(REF, 1, QUEUED)
    admitted.decide(decide_on(REF, 2, DEFERRED))
    assert admitted.last_decision(REF) == decide_on(REF, 2, DEFERRED)


def test_a_decision_killed_at_any_step_is_made_or_not_and_recovery_finishes_the_move(admitted: Store):
    for _, ended in every_death(lambda _: lambda: admitted.decide(decide_on(REF, 2, RUNNING))):
        last = admitted.last_decision(REF)
        assert last is not None
        if last.state is RUNNING and not ended:
            assert admitted.linked_state(REF) is QUEUED  # the decision holds; the move is finished:
            admitted.move_link(REF, last.state)
            assert links(admitted) == {"queued": ["plan-1.b"], "running": ["plan-1.a"]}
            break
        assert last.state is QUEUED
        assert admitted.linked_state(REF) is QUEUED


def test_a_retry_killed_at_any_step_stays_where_recovery_walks(admitted: Store):
    admitted.decide(decide_on(REF, 2, FAILED))
    assert admitted.open_refs() == {"plan-1.b": QUEUED}
    for _, ended in every_death(lambda _: lambda: admitted.decide(decide_on(REF, 3, QUEUED))):
        last = admitted.last_decision(REF)
        assert last is not None
        if last.state is QUEUED:
            assert admitted.open_refs()[REF] is QUEUED
            assert ended or admitted.last_decision(REF) == last
            break
        if REF in admitted.open_refs():
            admitted.move_link(REF, last.state, durable=True)
        assert admitted.linked_state(REF) is FAILED


def test_a_link_is_found_wherever_it_is_and_made_where_it_is_missing(admitted: Store):
    layout = admitted.layout
    layout.link(QUEUED, REF).unlink()
    assert admitted.linked_state(REF) is None
    admitted.move_link(REF, DEFERRED)
    assert layout.link(DEFERRED, REF).resolve() == layout.task(REF).folder
    for state in (QUEUED, FAILED):
        layout.link(state, REF).symlink_to(layout.link_target(REF))
    admitted.move_link(REF, QUEUED, durable=True)
    assert links(admitted) == {"queued": ["plan-1.a", "plan-1.b"]}
    admitted.move_link(REF, QUEUED)
    assert links(admitted) == {"queued": ["plan-1.a", "plan-1.b"]}


def test_links_of_plans_that_never_came_to_be_are_dropped(admitted: Store):
    layout = admitted.layout
    layout.link(TaskState.WAITING, "ghost.t").symlink_to(layout.link_target("ghost.t"))
    layout.log_link("ghost.t").symlink_to(layout.log_target("ghost.t"))
    (layout.tasks / "queued" / "a note by hand").touch()
    assert admitted.drop_links_without_plan() == ["ghost.t"]
    assert links(admitted) == {"queued": ["a note by hand", "plan-1.a", "plan-1.b"]}
    assert not os.path.lexists(layout.log_link("ghost.t"))


def test_log_links_of_a_build_go_with_it(store: Store):
    layout = store.layout
    for ref, folder in (("solo", "solo"), ("plan-1.a", "a")):
        (layout.plan_being_built(ref.partition(".")[0]).folder / folder).mkdir(parents=True)
        layout.log_link(ref).symlink_to(layout.log_target(ref))
    assert sorted(store.recover_builds()) == ["plan-1", "solo"]
    assert list(layout.logs.iterdir()) == []


def test_any_walk_through_the_states_leaves_one_link_and_every_word(store: Store):
    rng = random.Random(4711)  # noqa: S311 - the same walk each time
    plan = make_plan("walk", ("walk",))
    store.admit(plan, REQUEST, first_decisions(plan))
    state, number = QUEUED, 1
    for _ in range(60):
        state = rng.choice(sorted(ALLOWED_MOVES[state] or {state}))
        if state in FINAL_STATES and not ALLOWED_MOVES[state]:
            break
        number += 1
        store.decide(decide_on("walk", number, state))
        assert links(store) == {state.value: ["walk"]}
        assert ("walk" in store.open_refs()) is (state in OPEN_STATES)
        assert store.last_decision("walk") == decide_on("walk", number, state)
    assert [d.number for d in store.decisions("walk")] == list(range(1, number + 1))


def test_a_known_link_is_moved_from_there_and_looked_for_only_where_it_is_not(admitted: Store):
    admitted.move_link(REF, DEFERRED, known=QUEUED)
    admitted.move_link(REF, RUNNING, known=QUEUED)  # it is in deferred by now
    assert links(admitted) == {"queued": ["plan-1.b"], "running": ["plan-1.a"]}
    admitted.layout.link(RUNNING, REF).unlink()
    admitted.move_link(REF, QUEUED, known=RUNNING)
    assert links(admitted) == {"queued": ["plan-1.a", "plan-1.b"]}


def test_a_decision_and_what_belongs_to_it_last_together_or_not_at_all(admitted: Store):
    first, order = admitted.last_decision(REF), admitted.layout.task(REF).folder / "order"
    before = everything(admitted.layout.root)
    for commits in (False, True):
        batch = Batch()
        batch.write(order, b"do")
        admitted.add_decision(batch, first, decide_on(REF, 2, RUNNING))
        assert admitted.last_decision(REF) == first
        if commits:
            batch.commit()
        batch.discard()
        assert commits or everything(admitted.layout.root) == before
    assert admitted.last_decision(REF) == decide_on(REF, 2, RUNNING)
    assert order.read_bytes() == b"do"


def test_what_has_the_name_of_the_next_decision_is_nobodys_word_to_who_knows_the_last(admitted: Store):
    first = admitted.last_decision(REF)
    admitted.decide(decide_on(REF, 2, RUNNING))  # by a write that failed afterwards: nobody has heard of it
    batch = Batch()
    admitted.add_decision(batch, first, decide_on(REF, 2, DEFERRED))
    batch.commit()
    assert admitted.last_decision(REF) == decide_on(REF, 2, DEFERRED)
    with pytest.raises(ValueError, match="does not follow"):
        admitted.add_decision(Batch(), first, decide_on(REF, 3, RUNNING))
    with pytest.raises(ValueError, match="illegal move"):
        admitted.add_decision(Batch(), first, decide_on(REF, 2, SUCCEEDED))


@pytest.mark.parametrize("damage", ["file", "task", "plan", "emptied"])
def test_a_decision_that_holds_comes_back_whatever_was_deleted(admitted: Store, damage: str):
    first, paths = admitted.last_decision(REF), admitted.layout.task(REF)
    assert first is not None
    if damage == "emptied":
        paths.decision(1).write_bytes(b"")
    elif damage == "file":
        paths.decision(1).unlink()
    else:
        shutil.rmtree(paths.folder if damage == "task" else paths.folder.parent)
    admitted.keep_decision(first, make_plan())
    assert admitted.last_decision(REF) == first
    assert admitted.plan("plan-1") == make_plan()
