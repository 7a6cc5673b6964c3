"""Requests that wait together are admitted together: one hop, two rounds of fsyncs, and nobody pays for another's fault."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.spool.dying import every_death
from tests.support.door import Door, refused_after_the_commit
from tests.support.repository import make_repository

from haikud.contracts.plan import Plan
from haikud.contracts.settings import Settings
from haikud.engine.attempts.role_lookup import RoleLookup
from haikud.engine.drops.admitting import admit_first
from haikud.engine.drops.folders import open_drop_folder
from haikud.engine.machine.trouble import RETRY_SECONDS
from haikud.engine.recovery import recover_drops
from haikud.spool import batch
from haikud.spool.drops import MOST_PER_SCAN, DropFolder, Scan
from haikud.spool.store import Store
from haikud.workspace import looks
from haikud.workspace.git import AsksGit, Git, no_git


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    door = Door(tmp_path)
    yield door
    door.engine.close()


async def test_many_are_admitted_with_two_rounds_of_fsyncs(door: Door, monkeypatch: pytest.MonkeyPatch):
    rounds: list[set[str]] = []

    def count(paths: Any) -> None:
        rounds.append({path.name for path in paths})

    monkeypatch.setattr(batch, "sync_all", count)
    for number in range(16):
        door.drop(f"x{number}.json", task_id=f"x{number}")
    single: list[int] = []
    monkeypatch.setattr(os, "fsync", single.append)
    await door.take_in()
    assert len(door.names("plans")) == 16
    assert len(door.engine.board.tasks) == 16
    first, second = rounds
    assert {"incoming", "queued", "logs", "request.json", "plan.json", "decision-0001.json", ".x7.new"} <= first
    assert second == {"plans"}
    assert single == []
    assert door.names("incoming") == []
    assert not door.intake.pending
    door.engine.close()
    assert "x3.json" in (door.layout.plan("x3").ledger).read_text(encoding="utf-8")


async def test_one_that_cannot_be_admitted_keeps_nobody_out(door: Door):
    for number in range(4):
        door.drop(f"x{number}.json", task_id=f"x{number}")
    in_the_way = door.layout.plan_being_built("x1").folder
    in_the_way.write_text("no folder", encoding="utf-8")
    with pytest.raises(NotADirectoryError):
        await door.take_in()
    assert door.names("plans") == [".x1.new", "x0", "x2", "x3"]
    assert sorted(door.engine.board.tasks) == ["x0", "x2", "x3"]
    assert [one.name for one in door.intake.pending] == ["x1.json"]
    in_the_way.unlink()
    await door.intake.work()
    assert door.names("plans") == ["x0", "x1", "x2", "x3"]
    assert door.names("incoming") == []
    assert door.names("tasks/queued") == ["x0", "x1", "x2", "x3"]


async def test_a_bad_one_in_the_middle_is_answered_and_the_others_are_admitted(door: Door):
    door.drop("x0.json", task_id="x0")
    door.drop("x1.json", task_id="x1", role="nobody")
    door.drop("x2.json", task_id="x2")
    door.drop("x3.yaml", task_id="x3")  # JSON is YAML; it is prepared elsewhere
    door.drop("x4.json", task_id="x4")
    await door.take_in()
    assert door.names("plans") == ["x0", "x2", "x3", "x4"]
    assert door.answer("x1.json")["status"] == "rejected"
    assert door.names("incoming") == []


async def test_of_two_with_one_id_the_first_has_it(door: Door):
    door.drop("first.json", task_id="same", title="One")
    door.drop("second.json", task_id="same", title="Two")
    door.drop("third.json", task_id="same", title="One")
    await door.take_in()
    plan = door.engine.store.plan("same")
    assert plan is not None
    assert plan.dropped_as == "first.json"
    assert door.answer("same.rejected.1.json")["status"] == "rejected"
    assert door.names("incoming") == []


async def test_ids_made_from_names_make_way_within_a_group(door: Door):
    door.drop("a b.json")
    door.drop("a-b.json")
    door.drop("a+b.json")
    await door.take_in()
    assert door.names("plans") == ["a-b", "a-b-2", "a-b-3"]


async def test_where_git_was_asked_a_moment_ago_it_is_not_asked_again(
    door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(looks, "SHARE", 0.0001)
    where = {"repository": str(make_repository(tmp_path / "project")), "role": "parallel-task-executor"}
    door.drop("x0.json", task_id="x0", **where)
    await door.take_in()
    assert door.names("plans") == ["x0"]

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a thread of its own")

    monkeypatch.setattr(type(door.engine), "aside", refuse)
    for number in range(1, 4):
        door.drop(f"x{number}.json", task_id=f"x{number}", **where)
    await door.take_in()
    assert door.names("plans") == ["x0", "x1", "x2", "x3"]
    with no_git(), pytest.raises(AsksGit):
        Git(None, cwd=str(tmp_path)).run("version")
    assert Git(None, cwd=str(tmp_path)).run("version")


async def test_names_that_are_not_durable_are_given_back(door: Door, monkeypatch: pytest.MonkeyPatch):
    door.drop("x.json", task_id="x")
    door.drop("y.json", task_id="y")
    real = os.fsync

    def refuse(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().name == "incoming":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="incoming"):
            await door.take_in()
    assert door.names("incoming") == ["x.json", "y.json"]
    assert door.names("plans") == []
    assert door.names("tasks/queued") == []
    assert not door.intake.pending
    await door.take_in()
    assert door.names("plans") == ["x", "y"]


async def test_what_could_not_be_unlinked_is_not_admitted_again(door: Door, monkeypatch: pytest.MonkeyPatch):
    door.drop("x.json")
    door.drop("y.json")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as broken:
        broken.setattr(DropFolder, "finish", refuse)
        for _ in range(2):
            with pytest.raises(OSError, match="Input"):
                await door.take_in()
    assert door.names("plans") == ["x", "y"]
    assert sorted(door.engine.board.tasks) == ["x", "y"]
    door.drop("z.json")
    await door.take_in()
    assert door.names("plans") == ["x", "y", "z"]
    assert door.names("incoming") == []
    assert door.names("responses") == []


async def test_killed_at_any_step_each_of_a_group_is_admitted_once(door: Door):
    roles, engine = RoleLookup(door.engine.settings), door.engine

    def group(number: int) -> Callable[[], object]:
        for one in "ab":
            door.drop(f"x{number}{one}.json")  # the id is made from the name: a second taking would make a second plan
        drops = open_drop_folder(door.layout.incoming, engine.settings)
        return lambda: admit_first(engine, drops, roles, drops.scan(sync=False).ready, {})

    pairs = 0
    for number, _ in every_death(group):
        engine.store.recover_builds()
        engine.store.drop_links_without_plan()
        door.open()  # as a daemon does that starts: what was taken is found again
        await recover_drops(engine, door.folder.drops, [])
        await door.take_in()
        await door.take_in()
        pairs = number
        assert door.names("incoming") == []
    wanted = sorted(f"x{number}{one}" for number in range(1, pairs + 1) for one in "ab")
    assert pairs > 20
    assert door.names("plans") == wanted
    assert door.names("tasks/queued") == wanted
    assert door.names("responses") == []


async def test_a_rejection_waits_for_its_taken_name(door: Door, monkeypatch: pytest.MonkeyPatch):
    door.drop("x.json", task_id="x", role="nobody")

    def refuse(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="incoming"):
            await door.take_in()
    assert door.names("incoming") == ["x.json"]
    assert door.names("rejected") == []
    await door.take_in()
    assert door.names("rejected") == ["x.json", "x.json.reason.json"]


async def test_one_that_cannot_be_looked_at_keeps_nobody_out(door: Door, monkeypatch: pytest.MonkeyPatch):
    door.drop("used.json", task_id="used")
    await door.take_in()
    read = Store.plan

    def refuse(store: Store, plan_id: str) -> Plan | None:
        if plan_id == "used":
            raise PermissionError(errno.EACCES, "not ours to read", plan_id)
        return read(store, plan_id)

    monkeypatch.setattr(Store, "plan", refuse)
    door.drop("x0.json", task_id="x0")
    door.drop("x1.json", task_id="used", title="Another")
    for number in (2, 3):
        door.drop(f"x{number}.json", task_id=f"x{number}")
    await door.take_in()
    assert door.names("plans") == ["used", "x0", "x2", "x3"]
    assert [one.name for one in door.intake.pending] == ["x1.json"]
    assert door.engine.trouble.must_wait("taking x1.json in")
    door.drop("x4.json", task_id="x4")
    await door.take_in(at_once=True)
    assert door.names("plans")[-1] == "x4"
    assert door.names("responses") == []
    monkeypatch.undo()
    monkeypatch.setattr(door.engine.trouble, "_clock", lambda: time.monotonic() + RETRY_SECONDS)
    await door.intake.work()
    assert door.names("incoming") == []
    assert not door.intake.pending
    assert door.names("responses") == ["used.rejected.1.json"]
    assert not any("x1.json" in text for text in door.engine.trouble.texts)


async def test_what_is_dropped_while_a_long_listing_is_worked_through_does_not_wait_for_the_timer(door: Door):
    for number in range(MOST_PER_SCAN + 1):
        door.drop(f"x{number}.json")
    await door.folder.scan(door.engine)
    door.drop("late.json")
    door.folder.look()  # its event; the next scan goes on with the listing
    door.intake.pending.clear()
    await door.folder.scan(door.engine)
    assert [one.name for one in door.intake.pending] == [f"x{MOST_PER_SCAN}.json"]
    assert door.folder.scan_at <= door.engine.clock()
    await door.folder.scan(door.engine)
    assert [one.name for one in door.intake.pending][1:] == ["late.json"]
    assert door.folder.scan_at > door.engine.clock()


async def test_a_look_that_is_called_for_during_a_scan_is_not_forgotten(door: Door, monkeypatch: pytest.MonkeyPatch):
    door.engine.settings = Settings(settle_seconds=3.0)
    door.open()
    door.drop("half.json")
    (door.layout.incoming / "half.json").write_text("{", encoding="utf-8")
    scan = DropFolder.scan

    def seen(drops: DropFolder, *, sync: bool = True) -> Scan:
        found = scan(drops, sync=sync)
        door.folder.look()
        return found

    monkeypatch.setattr(DropFolder, "scan", seen)
    await door.folder.scan(door.engine)
    assert door.folder.scan_at <= door.engine.clock()


async def test_a_plan_that_cannot_be_taken_back_is_there_once_and_with_its_links(
    door: Door, monkeypatch: pytest.MonkeyPatch
):
    door.drop("x.json")
    with refused_after_the_commit(monkeypatch), pytest.raises(OSError, match="plans"):
        await door.take_in()
    assert door.names("tasks/queued") == ["x"]
    await door.take_in()
    assert door.names("plans") == ["x"]
    assert sorted(door.engine.board.tasks) == ["x"]
    assert door.names("incoming") == []


async def test_what_cannot_get_its_name_back_is_brought_once(door: Door, monkeypatch: pytest.MonkeyPatch):
    door.drop("x.json")

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as broken:
        broken.setattr("haikud.spool.new_names.rename_without_replacing", refuse)
        broken.setattr(os, "fsync", refuse)
        door.folder.sync = True
        door.folder.missed = False
        with pytest.raises(OSError, match="incoming"):
            await door.folder.scan(door.engine)
    for _ in range(3):
        await door.take_in()
    assert door.names("plans") == ["x"]
    assert door.names("incoming") == []
