"""A final decision and its answers in one hop: what lies where, what is read for it, and what a cut leaves."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from tests.support.last_words import ANSWERED, admit_running, final_word, spool_at
from tests.support.made import make_decision

from haikud.contracts.envelope import Response
from haikud.contracts.plan import RequestShape
from haikud.contracts.states import AttemptOutcome, TaskState
from haikud.engine.answers import final_word as room
from haikud.engine.answers.final_word import write_final_word
from haikud.engine.answers.publication import publish_final
from haikud.spool import models
from haikud.spool.batch import Batch
from haikud.spool.store import Store

SHAPES = [
    (("p",), RequestShape.TASK_REQUEST),
    (("p",), RequestShape.TASK_PLAN),
    (("a", "b"), RequestShape.TASK_PLAN),
]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return spool_at(tmp_path / "spool")


def links(store: Store, state: TaskState) -> list[str]:
    return sorted(path.name for path in (store.layout.tasks / state).iterdir())


def answers(store: Store) -> dict[str, Any]:
    return {path.name: json.loads(path.read_bytes()) for path in sorted(store.layout.responses.glob("*.json"))}


@pytest.mark.parametrize(("names", "shape"), SHAPES)
@pytest.mark.parametrize("knows", [True, False])
def test_what_the_board_knows_and_what_the_disk_says_make_the_same_answers(
    tmp_path: Path, names: tuple[str, ...], shape: RequestShape, knows: bool
):
    together, apart = spool_at(tmp_path / "together"), spool_at(tmp_path / "apart")
    for store in (together, apart):
        plan = admit_running(store, *names, shape=shape)
        for name in names:
            word = final_word(store, plan, name, is_last=name == names[-1], knows=knows)
            if store is together:
                said = write_final_word(word)
                assert said is not None
                assert (said.plan is not None) == word.is_last
                store.move_links_finally([(word.task.ref, TaskState.RUNNING, TaskState.SUCCEEDED)])
            else:
                store.decide(word.decision, settle_link=False)
                publish_final(store, plan, word.task, word.decision, is_last=word.is_last)
    made, expected = (json.dumps(answers(store)).replace(str(store.layout.root), "") for store in (together, apart))
    assert made == expected
    assert len(answers(together)) == (1 if len(names) == 1 else 3)
    for store in (together, apart):
        assert links(store, TaskState.SUCCEEDED) == sorted(task.ref for task in plan.tasks)
        assert links(store, TaskState.RUNNING) == []


def test_the_answer_of_an_only_task_is_one_file_with_three_names(store: Store):
    plan = admit_running(store, "p")
    write_final_word(final_word(store, plan, "p", is_last=True))
    names = [store.layout.task("p").response, store.layout.plan("p").response, store.layout.responses / "p.json"]
    assert len({path.stat().st_ino for path in names}) == 1


def test_nothing_is_read_of_a_first_attempt(store: Store, monkeypatch: pytest.MonkeyPatch):
    plan = admit_running(store, "p", shape=RequestShape.TASK_PLAN)
    word = final_word(store, plan, "p", is_last=True)
    read: list[Path] = []
    real = models._open_regular
    monkeypatch.setattr(models, "_open_regular", lambda path: read.append(path) or real(path))
    assert write_final_word(word) is not None
    assert read == []


def test_seven_fsyncs_make_a_task_final_and_mark_it(store: Store, monkeypatch: pytest.MonkeyPatch):
    plan = admit_running(store, "p")
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink().relative_to(store.layout.root)))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_final_word(final_word(store, plan, "p", is_last=True))
    assert set(synced[:2]) == {"plans/p/p/decision-0003.json", "plans/p/p/response.json"}
    assert (set(synced[2:4]), synced[4:]) == ({"plans/p/p", "plans/p"}, ["responses"])
    synced.clear()
    store.move_links_finally([("p", TaskState.RUNNING, TaskState.SUCCEEDED)])
    assert set(synced) == {"tasks/running", "tasks/succeeded"}
    assert len(synced) == 2


def test_what_cannot_be_published_now_is_published_later_as_it_was_written(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no")

    plan = admit_running(store, "p")
    word = final_word(store, plan, "p", is_last=True)
    with monkeypatch.context() as patched:
        patched.setattr(room, "is_copied_to", lambda _: True)
        patched.setattr(room, "publish_responses", refuse)
        assert write_final_word(word) is None
    assert store.last_decision("p") == word.decision
    assert answers(store) == {}
    written = store.layout.task("p").response.read_bytes()
    publish_final(store, plan, word.task, word.decision, is_last=True)
    assert (store.layout.responses / "p.json").read_bytes() == written
    assert store.linked_state("p") is TaskState.SUCCEEDED


def test_a_decision_that_could_not_be_made_durable_was_never_made(store: Store, monkeypatch: pytest.MonkeyPatch):
    plan = admit_running(store, "p")
    word, before = final_word(store, plan, "p", is_last=True), store.last_decision("p")

    def fail(descriptor: int) -> None:
        raise OSError(5, "broken")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="broken"):
            write_final_word(word)
    assert store.last_decision("p") == before
    assert answers(store) == {}
    assert write_final_word(word) is not None  # and it may be tried again


LEFT = ["whole", "empty", "missing", "torn", "zeros"]


@pytest.mark.parametrize("shape", [RequestShape.TASK_REQUEST, RequestShape.TASK_PLAN])
def test_whatever_a_cut_leaves_of_the_first_round_the_answer_is_that_of_the_decision_that_holds(
    tmp_path: Path, shape: RequestShape
):
    """No fsync of the round is done: each of its files may be there, in part or not at all."""
    for number, (decided, answered, whole) in enumerate(product(LEFT, LEFT[:3], LEFT[:3])):
        store = spool_at(tmp_path / f"spool-{number}")
        plan = admit_running(store, "p", shape=shape)
        word = final_word(store, plan, "p", is_last=True)
        batch = Batch()
        word.put_into(batch)
        batch.commit_early()
        paths = store.layout.task("p")
        leave(paths.decision(3), decided)
        leave(paths.response, answered)
        leave(store.layout.plan("p").response, whole)
        if decided == "whole":
            publish_final(store, plan, word.task, word.decision, is_last=True)
        else:
            last = store.last_decision("p")
            assert last == word.last
            later = word.decision.model_copy(update={"at": ANSWERED + timedelta(seconds=60)})
            word = replace(word, decision=later)
            assert write_final_word(word) is not None
            store.move_links_finally([("p", TaskState.RUNNING, TaskState.SUCCEEDED)])
        assert store.last_decision("p") == word.decision
        answer = Response.model_validate(answers(store)["p.json"])
        assert (answer.timestamp, answer.status) == (word.decision.at, "success")
        assert Response.model_validate_json(paths.response.read_bytes()).timestamp == word.decision.at
        shutil.rmtree(store.layout.root)


def leave(path: Path, what: str) -> None:
    """A file as a power cut may leave it, whose name or content was not durable."""
    data = path.read_bytes()
    path.unlink()
    left = {"whole": data, "empty": b"", "torn": data[: len(data) // 2], "zeros": bytes(len(data))}
    if what in left:
        path.write_bytes(left[what])


def test_an_answer_that_a_cut_left_without_its_decision_is_not_given(store: Store):
    plan = admit_running(store, "p", shape=RequestShape.TASK_PLAN)
    write_final_word(final_word(store, plan, "p", is_last=True))
    store.layout.task("p").decision(3).unlink()  # as if only the names of the answers had survived
    (store.layout.responses / "p.json").unlink()
    cancelled = make_decision(
        TaskState.CANCELLED, ref="p", at=ANSWERED + timedelta(seconds=60), outcome=AttemptOutcome.COMPLETED
    )
    store.decide(cancelled, settle_link=False)
    publish_final(store, plan, plan.task("p"), cancelled, is_last=True)
    assert answers(store)["p.json"]["status"] == "cancelled"
    assert json.loads(store.layout.task("p").response.read_bytes())["status"] == "cancelled"


def test_a_link_that_is_not_where_it_should_be_is_moved_all_the_same(store: Store):
    plan = admit_running(store, "a", "b")
    for name in ("a", "b"):
        write_final_word(final_word(store, plan, name, is_last=name == "b"))
    store.layout.link(TaskState.RUNNING, "p.b").rename(store.layout.link(TaskState.PAUSED, "p.b"))
    moves = [("p.a", TaskState.RUNNING, TaskState.SUCCEEDED), ("p.b", TaskState.RUNNING, TaskState.SUCCEEDED)]
    store.move_links_finally([*moves, ("p.a", None, TaskState.SUCCEEDED)])
    assert links(store, TaskState.SUCCEEDED) == ["p.a", "p.b"]
    assert store.linked_state("p.b") is TaskState.SUCCEEDED


def test_where_links_are_refused_the_plan_gets_a_copy(store: Store, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "no links here")

    plan = admit_running(store, "p")
    monkeypatch.setattr(os, "link", refuse)
    assert write_final_word(final_word(store, plan, "p", is_last=True)) is not None
    names = [store.layout.task("p").response, store.layout.plan("p").response, store.layout.responses / "p.json"]
    assert len({path.read_bytes() for path in names}) == 1
    assert not list(store.layout.plans.rglob("*.tmp"))


def test_a_deleted_folder_comes_back_with_the_word(store: Store):
    plan = admit_running(store, "p")
    word = final_word(store, plan, "p", is_last=True)
    shutil.rmtree(store.layout.plan("p").folder)
    assert write_final_word(word) is not None
    assert store.last_decision("p") == word.decision
    assert answers(store)["p.json"]["status"] == "success"
