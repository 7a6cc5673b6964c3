"""Answers: published once, never over another request's; rejections make way."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from tests.spool.dying import every_death
from tests.spool.records import REQUEST, first_decisions, make_plan, make_response

from haikud.contracts.envelope import Response, Status
from haikud.contracts.ids import first_free
from haikud.spool.format import open_spool
from haikud.spool.layout import SpoolLayout
from haikud.spool.models import dump
from haikud.spool.publish import (
    drop_rejection,
    older_responses,
    publish_escalation,
    publish_rejection,
    publish_response,
    rejection_name,
    retract,
    retract_escalation,
    retract_rejection,
    rotate_response,
    unpublished_rejections,
    write_rejection,
)
from haikud.spool.store import Store

NAME = "plan-1.json"
REJECTION = make_response(Status.REJECTED)


@pytest.fixture
def source(layout: SpoolLayout) -> Path:
    plan = make_plan()
    Store(layout).admit(plan, REQUEST, first_decisions(plan))
    path = layout.plan("plan-1").response
    path.write_bytes(dump(make_response()))
    return path


def published(layout: SpoolLayout, name: str = NAME) -> bytes:
    return (layout.responses / name).read_bytes()


def test_an_answer_is_published_once_and_again_without_harm(layout: SpoolLayout, source: Path):
    assert publish_response(layout, source, NAME)
    assert publish_response(layout, source, NAME)
    assert published(layout) == source.read_bytes()
    assert [p.name for p in layout.responses.iterdir()] == [NAME]


def test_anothers_answer_is_never_overwritten(layout: SpoolLayout, source: Path):
    (layout.responses / NAME).write_bytes(dump(make_response(correlation_id="another")))
    before = published(layout)
    assert not publish_response(layout, source, NAME)
    assert published(layout) == before


def test_what_somebody_put_in_an_answers_place_is_left_and_not_followed(
    layout: SpoolLayout, source: Path, tmp_path: Path
):
    (layout.responses / NAME).symlink_to(tmp_path / "elsewhere")
    assert not publish_response(layout, source, NAME)
    assert not (tmp_path / "elsewhere").exists()
    (layout.responses / NAME).unlink()
    (layout.responses / NAME).mkdir()
    assert not publish_response(layout, source, NAME)
    (layout.responses / NAME).rmdir()
    (layout.responses / NAME).write_bytes(b"[" * 100_000)
    assert not publish_response(layout, source, NAME)


def test_a_rejection_makes_way_for_the_mended_requests_answer(layout: SpoolLayout, source: Path):
    (layout.responses / NAME).write_bytes(dump(REJECTION))
    assert publish_response(layout, source, NAME)
    assert published(layout) == source.read_bytes()


def test_a_retried_tasks_old_answer_makes_way_for_the_new(layout: SpoolLayout, source: Path):
    assert publish_response(layout, source, NAME)
    assert rotate_response(source.parent) == source.parent / "response.1.json"
    source.write_bytes(dump(make_response(Status.FAILURE)))
    assert publish_response(layout, source, NAME)
    assert published(layout) == source.read_bytes()
    assert (source.parent / "response.1.json").read_bytes() == dump(make_response())


def test_publishing_killed_at_any_step_is_finished_by_the_next(layout: SpoolLayout, source: Path):
    for _ in every_death(lambda _: lambda: publish_response(layout, source, NAME)):
        assert not (layout.responses / NAME).exists() or published(layout) == source.read_bytes()
        assert publish_response(layout, source, NAME)
        retract(layout, NAME)


TOKEN = "0123456789abcdef"


def reject(layout: SpoolLayout, plan_id: str, response: Response, token: str = TOKEN) -> str:
    write_rejection(layout, token, response)
    return publish_rejection(layout, token, rejection_name(layout, plan_id))


def test_a_rejection_takes_the_plain_name_and_a_newer_one_replaces_it(layout: SpoolLayout):
    assert reject(layout, "plan-1", REJECTION) == NAME
    newer = make_response(Status.REJECTED, why="still wrong")
    assert reject(layout, "plan-1", newer) == NAME
    assert published(layout) == dump(newer)
    assert [p.name for p in layout.responses.iterdir()] == [NAME]


def test_a_rejection_of_an_id_in_use_gets_a_name_of_its_own(layout: SpoolLayout, source: Path):
    # Also where the answer is not there: not yet, or taken away.
    assert reject(layout, "plan-1", REJECTION) == "plan-1.rejected.1.json"
    assert reject(layout, "plan-1", REJECTION) == "plan-1.rejected.2.json"
    assert rejection_name(layout, "plan-1") == "plan-1.rejected.3.json"
    (layout.pruned / "gone").touch()
    assert reject(layout, "gone", REJECTION) == "gone.rejected.1.json"
    (layout.responses / "other.json").write_bytes(dump(make_response()))
    assert reject(layout, "other", REJECTION) == "other.rejected.1.json"


def test_a_rejection_makes_way_only_for_one_of_a_file_of_the_same_name(layout: SpoolLayout):
    (layout.responses / "a-b.json").write_bytes(
        dump(make_response(Status.REJECTED, why="a b.json was not admitted: x"))
    )
    assert rejection_name(layout, "a-b", "a b.json") == "a-b.json"
    assert rejection_name(layout, "a-b", "a?b.json") == "a-b.rejected.1.json"
    assert rejection_name(layout, "a-b") == "a-b.json"


def test_a_rejection_is_published_once_and_not_where_another_answer_has_come(layout: SpoolLayout):
    write_rejection(layout, TOKEN, REJECTION)
    (layout.responses / NAME).write_bytes(dump(make_response()))
    assert publish_rejection(layout, TOKEN, NAME) == "plan-1.rejected.1.json"
    (layout.responses / "plan-1.rejected.1.json").unlink()  # its reader took it away
    assert publish_rejection(layout, TOKEN, "plan-1.rejected.1.json") == "plan-1.rejected.1.json"
    assert published(layout) == dump(make_response())
    write_rejection(layout, TOKEN, REJECTION)
    assert unpublished_rejections(layout) == {TOKEN}
    drop_rejection(layout, TOKEN)
    assert [p.name for p in layout.responses.iterdir()] == [NAME]


def test_a_free_name_is_found_without_trying_them_all(layout: SpoolLayout):
    asked: list[int] = []

    def is_taken(name: str) -> bool:
        asked.append(int(name))
        return int(name) <= 100_000

    assert first_free(str, is_taken) == "100001"
    assert len(asked) < 100
    assert first_free(str, lambda name: int(name) <= 3) == "4"


def test_retracting(layout: SpoolLayout):
    assert not retract(layout, NAME)
    assert not retract_rejection(layout, "plan-1")
    (layout.responses / NAME).write_bytes(dump(REJECTION))
    assert retract_rejection(layout, "plan-1")
    (layout.responses / NAME).write_bytes(dump(make_response()))
    assert not retract_rejection(layout, "plan-1")
    assert retract(layout, NAME)
    assert not (layout.responses / NAME).exists()


def test_older_responses_are_numbered_in_order(tmp_path: Path):
    assert rotate_response(tmp_path) is None
    for number in range(1, 12):
        (tmp_path / "response.json").write_bytes(str(number).encode())
        rotate_response(tmp_path)
    assert [p.read_bytes() for p in older_responses(tmp_path)] == [str(n).encode() for n in range(1, 12)]
    assert older_responses(tmp_path)[-1].name == "response.11.json"
    assert not (tmp_path / "response.json").exists()


def test_the_newest_question_is_the_one_that_is_open(layout: SpoolLayout, source: Path):
    task = layout.task("plan-1.a")
    for number in (1, 2):
        task.escalation(number).write_bytes(b"%d" % number)
        publish_escalation(layout, task.escalation(number), "plan-1.a")
    assert (layout.escalations / "plan-1.a.json").read_bytes() == b"2"
    assert task.escalation(1).read_bytes() == b"1"
    assert retract_escalation(layout, "plan-1.a")
    assert not retract_escalation(layout, "plan-1.a")


def test_where_a_group_reads_it_gets_copies_of_its_own(layout: SpoolLayout, source: Path):
    open_spool(layout.root, group=str(os.getgid()))
    assert publish_response(layout, source, NAME)
    reject(layout, "x", REJECTION)
    for name in (NAME, "x.json"):
        assert stat.S_IMODE((layout.responses / name).stat().st_mode) == 0o660
    assert not (layout.responses / NAME).samefile(source)
    assert publish_response(layout, source, NAME)
