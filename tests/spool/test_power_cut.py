"""What must last is fsynced in the right order: files before they get their names, folders before the return.

What nobody takes for whole that is not (a task's final decision, its answer in the plan's folder) may have its name
before; but nothing else gets one, and nothing returns, before file and folder are fsynced.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.spool.records import REQUEST, OrderAtOnce, decide_on, first_decisions, make_plan, make_response
from tests.support.last_words import admit_running, final_word, spool_at

from haikud.contracts.plan import RequestShape
from haikud.contracts.states import FINAL_STATES, TaskState
from haikud.engine.answers.final_word import write_final_word
from haikud.spool.aside import leave_folder, place_aside
from haikud.spool.batch import Batch
from haikud.spool.drops import DropFolder
from haikud.spool.durable import (
    append_durably,
    copy_linked,
    make_folder,
    write_durably,
    write_new_durably,
    write_quickly,
)
from haikud.spool.layout import SpoolLayout
from haikud.spool.publish import (
    publish_rejection,
    publish_response,
    rejection_name,
    retract,
    rotate_response,
    write_rejection,
)
from haikud.spool.store import Admission, Store


class Journal:
    """Watches the calls as they are made; it changes none of them."""

    def __init__(self) -> None:
        self.synced: set[int] = set()  # inodes, since they last changed
        self.unsynced_folders: set[str] = set()  # with a name put, moved or removed since their last fsync
        self.early: dict[int, Path] = {}  # named and not fsynced yet, by inode
        self.faults: list[str] = []

    def fsync(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        self.synced.add(status.st_ino)
        self.early.pop(status.st_ino, None)
        if stat.S_ISDIR(status.st_mode):
            self.unsynced_folders.discard(str(Path(f"/proc/self/fd/{descriptor}").readlink()))

    def named(self, target: Any, source: Any = None) -> None:
        """A name was put at `target`, perhaps taken from `source`."""
        target = Path(target)
        may_be_early = "plans" in target.parts and target.name.startswith(("decision-", "response."))
        if not may_be_early and not target.name.startswith("."):
            self.faults += [f"{target} was put before {one} was fsynced" for one in self.early.values()]
        self.unsynced_folders.add(str(target.parent))
        if source is not None:
            self.unsynced_folders.add(str(Path(source).parent))
        if target.parent.name == "responses":
            inside = [folder for folder in self.unsynced_folders if "plans" in Path(folder).parts]
            self.faults += [f"{target} was published before {folder} was fsynced" for folder in inside]
        if target.parent.name in FINAL_STATES and any(Path(one).name == "responses" for one in self.unsynced_folders):
            self.faults.append(f"{target} was marked as published before responses/ was fsynced")
        status = target.lstat()
        is_temporary = target.name.startswith(".")
        if stat.S_ISREG(status.st_mode) and status.st_ino not in self.synced and not is_temporary:
            if may_be_early:
                self.early[status.st_ino] = target
            else:
                self.faults.append(f"{target} was named before it was fsynced")
        if stat.S_ISDIR(status.st_mode) and source is not None:
            inside = [folder for folder in self.unsynced_folders if Path(folder).is_relative_to(source)]
            self.faults += [f"{target} was committed before {folder} was fsynced" for folder in inside]


@pytest.fixture
def journal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Journal]:
    journal = Journal()

    def watch(name: str, note: Callable[..., None]) -> None:
        real = getattr(os, name)

        def call(*args: Any, **options: Any) -> Any:
            result = real(*args, **options)
            note(*args)
            return result

        monkeypatch.setattr(os, name, call)

    watch("fsync", journal.fsync)
    watch("fdatasync", journal.fsync)
    watch("rename", lambda source, target: journal.named(target, source))
    watch("link", lambda _source, target: journal.named(target))
    watch("symlink", lambda _points_to, path, *_: journal.named(path))
    watch("mkdir", lambda path, *_: journal.named(path))
    yield journal
    assert journal.faults == []
    assert journal.unsynced_folders == set()
    assert journal.early == {}


def test_the_journal_sees_a_careless_write(tmp_path: Path, journal: Journal):
    write_quickly(tmp_path / "a", b"one")
    assert journal.faults
    assert journal.unsynced_folders == {str(tmp_path)}
    journal.faults.clear()
    journal.unsynced_folders.clear()


def test_files(tmp_path: Path, journal: Journal):
    write_durably(tmp_path / "a", b"one")
    write_new_durably(tmp_path / "b", b"two")
    append_durably(tmp_path / "c", b"three")
    append_durably(tmp_path / "c", b"four", b"five")
    copy_linked(tmp_path / "a", tmp_path / "d")
    copy_linked(tmp_path / "a", tmp_path / "e", copy_mode=0o660)
    make_folder(tmp_path / "f" / "g")


def test_an_admission_and_its_decisions(layout: SpoolLayout, journal: Journal):
    store = Store(layout)
    plan = make_plan()
    store.admit(plan, REQUEST, first_decisions(plan))
    ref = plan.tasks[0].ref
    store.decide(decide_on(ref, 2, TaskState.RUNNING), settle_link=False)
    journal_before = set(journal.unsynced_folders)
    assert journal_before == set()
    store.move_link(ref, TaskState.RUNNING, durable=True)
    store.decide(decide_on(ref, 3, TaskState.FAILED))
    store.decide(decide_on(ref, 4, TaskState.QUEUED), settle_link=False)


def test_a_decision_with_what_belongs_to_it(layout: SpoolLayout, journal: Journal):
    store = Store(layout)
    plan = make_plan()
    store.admit(plan, REQUEST, first_decisions(plan))
    ref = plan.tasks[0].ref
    batch = Batch()
    batch.write(layout.task(ref).folder / "order", b"do")
    store.add_decision(batch, store.last_decision(ref), decide_on(ref, 2, TaskState.RUNNING))
    batch.commit()


def test_plans_that_are_admitted_together_with_the_taking_of_their_requests(layout: SpoolLayout, journal: Journal):
    (layout.incoming / "plan.yaml").write_bytes(b"old")
    with (layout.incoming / "plan.yaml").open("rb") as stream:
        os.fsync(stream.fileno())  # as above: what is read is written again
    drops = DropFolder(layout.incoming, max_bytes=100, settle_seconds=0.0)
    assert len(drops.scan(sync=False).ready) == 1
    assert journal.unsynced_folders == {str(layout.incoming)}
    batch = Batch()
    batch.sync_folder(drops.path, undo=drops.names.give_back)
    plans = [make_plan(), make_plan("plan-2", ("plan-2",))]
    Store(layout).admit_together([Admission(plan, REQUEST, first_decisions(plan)) for plan in plans], batch)


def test_a_plan_that_is_admitted_with_the_order_to_run_it(layout: SpoolLayout, journal: Journal):
    plan = make_plan()
    task = plan.tasks[0]
    order = OrderAtOnce(decide_on(task.ref, 2, TaskState.RUNNING))
    Store(layout).admit_together([Admission(plan, REQUEST, first_decisions(plan), {task.id: order})], Batch())
    assert (layout.task(task.ref).attempt(1).out).is_dir()
    assert layout.link(TaskState.RUNNING, task.ref).resolve() == layout.task(task.ref).folder


def test_a_move_that_is_not_final_costs_no_fsync(layout: SpoolLayout, journal: Journal):
    store = Store(layout)
    plan = make_plan()
    store.admit(plan, REQUEST, first_decisions(plan))
    store.decide(decide_on(plan.tasks[0].ref, 2, TaskState.RUNNING))
    assert journal.unsynced_folders == {str(layout.tasks / "queued"), str(layout.tasks / "running")}
    journal.unsynced_folders.clear()


@pytest.mark.parametrize("shape", [RequestShape.TASK_REQUEST, RequestShape.TASK_PLAN])
@pytest.mark.parametrize("names", [("p",), ("a", "b")])
def test_a_settlement(tmp_path: Path, journal: Journal, shape: RequestShape, names: tuple[str, ...]):
    store = spool_at(tmp_path / "spool")
    plan = admit_running(store, *names, shape=shape)
    journal.unsynced_folders.clear()  # of what the runners left
    for name in names:
        word = final_word(store, plan, name, is_last=name == names[-1])
        assert write_final_word(word) is not None
        assert journal.unsynced_folders == set()
        store.move_links_finally([(word.task.ref, TaskState.RUNNING, TaskState.SUCCEEDED)])


def test_the_journal_sees_an_answer_or_a_mark_that_comes_too_early(tmp_path: Path, journal: Journal):
    store = spool_at(tmp_path / "spool")
    plan = admit_running(store, "p")
    word = final_word(store, plan, "p", is_last=True)
    store.layout.task("p").response.write_bytes(b"{}")
    journal.named(store.layout.task("p").response)
    os.link(store.layout.task("p").response, store.layout.responses / "p.json")
    store.move_link("p", word.decision.state)
    assert [words.partition(" was ")[2].partition(" before ")[0] for words in journal.faults] == [
        "put",
        "published",
        "named",
        "put",
        "marked as published",
    ]
    journal.faults.clear()
    journal.early.clear()
    journal.unsynced_folders.clear()


def test_answers(layout: SpoolLayout, journal: Journal):
    folder = layout.plan("plan-1").folder
    make_folder(folder)
    write_durably(folder / "response.json", b"{}")
    assert publish_response(layout, folder / "response.json", "plan-1.json")
    rotate_response(folder)
    retract(layout, "plan-1.json")
    for plan_id in ("other", "plan-1"):
        write_rejection(layout, "0" * 16, make_response())
        publish_rejection(layout, "0" * 16, rejection_name(layout, plan_id))


def test_taking_and_setting_aside(layout: SpoolLayout, journal: Journal):
    (layout.incoming / "plan.json").write_bytes(b"{}")
    with (layout.incoming / "plan.json").open("rb") as stream:
        os.fsync(stream.fileno())  # the producer's business; what is read is written again before it counts
    drops = DropFolder(layout.incoming, max_bytes=100, settle_seconds=0.0)
    (taken,) = drops.scan().ready
    assert journal.unsynced_folders == set()
    stored = place_aside(taken.path, taken.name, taken.token, layout.rejected)
    assert journal.unsynced_folders == set()
    leave_folder(taken.path, stored, taken.token, layout.rejected)
    journal.unsynced_folders.discard(str(layout.incoming))  # were it to come back: its token is recorded
