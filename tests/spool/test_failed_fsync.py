"""A failed fsync is never taken for done afterwards: what it was to make durable is written or named anew.

The kernel reports a failed write-back once and drops the pages; the next fsync of the same file succeeds without having
written anything. So here each fsync of each operation fails in turn, the operation is done again, and a journal of the
calls sees that no file and no folder that had failed was merely synced again.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.spool.records import REQUEST, decide_on, first_decisions, make_plan

from haikud.contracts.states import TaskState
from haikud.spool.batch import Batch
from haikud.spool.drops import DropFolder
from haikud.spool.durable import (
    append_durably,
    copy_linked,
    make_durable,
    make_folder,
    write_durably,
    write_new_durably,
)
from haikud.spool.layout import SpoolLayout
from haikud.spool.store import Admission, Store


class Gate:
    """fsync, of which one fails; and what must not be synced again as it is."""

    def __init__(self) -> None:
        self.calls = 0
        self.fails_at = 0
        self.failed_files: set[int] = set()
        self.failed_folders: set[str] = set()
        self.faults: list[str] = []
        self.held: list[int] = []

    def sync(self, real: Callable[[int], None], descriptor: int) -> None:
        self.calls += 1
        status, path = os.fstat(descriptor), str(Path(f"/proc/self/fd/{descriptor}").readlink())
        is_folder = stat.S_ISDIR(status.st_mode)
        if self.calls == self.fails_at:
            if is_folder:
                self.failed_folders.add(path)
            else:
                self.failed_files.add(status.st_ino)
                self.held.append(os.dup(descriptor))  # so that no other file gets its inode
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if path in self.failed_folders or (not is_folder and status.st_ino in self.failed_files):
            self.faults.append(f"{path} was only synced again")
        real(descriptor)

    def named(self, *paths: Any) -> None:
        for path in paths:
            self.failed_folders.discard(str(Path(path).parent))


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate()
    for name in ("fsync", "fdatasync"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda fd, real=real: gate.sync(real, fd))

    def watch(name: str, paths: Callable[..., tuple[Any, ...]]) -> None:
        real = getattr(os, name)

        def call(*args: Any, **options: Any) -> Any:
            result = real(*args, **options)
            gate.named(*paths(*args))
            return result

        monkeypatch.setattr(os, name, call)

    watch("open", lambda path, flags, *_: (path,) if flags & os.O_CREAT else ())
    watch("rename", lambda source, target, *_: (source, target))
    watch("link", lambda _source, target, *_: (target,))
    watch("symlink", lambda _to, path, *_: (path,))
    watch("mkdir", lambda path, *_: (path,))
    yield gate
    for descriptor in gate.held:
        os.close(descriptor)


def take(layout: SpoolLayout) -> None:
    (taken,) = DropFolder(layout.incoming, max_bytes=100, settle_seconds=0.0).scan().ready
    assert taken.data == b"old"


def admit(layout: SpoolLayout) -> None:
    plan = make_plan()
    Store(layout).admit(plan, REQUEST, first_decisions(plan))


def taking_and_admitting(layout: SpoolLayout) -> Callable[[], object]:
    """Two plans in one batch, which has the taken name made durable too."""
    (layout.incoming / "a.yaml").write_bytes(b"old")
    drops = DropFolder(layout.incoming, max_bytes=100, settle_seconds=0.0)

    def act() -> None:
        (taken,) = drops.scan(sync=False).ready or drops.left_over()
        batch = Batch()
        if drops.names.are_owed:
            batch.sync_folder(drops.path, undo=drops.names.give_back)
        plans = [make_plan(), make_plan("plan-2", ("plan-2",))]
        Store(layout).admit_together([Admission(plan, REQUEST, first_decisions(plan)) for plan in plans], batch)
        drops.names.are_durable()
        drops.finish(taken)

    return act


def decision(layout: SpoolLayout) -> Callable[[], object]:
    admit(layout)
    return lambda: Store(layout).decide(decide_on(make_plan().tasks[0].ref, 2, TaskState.RUNNING))


def last_move(layout: SpoolLayout) -> Callable[[], object]:
    admit(layout)
    return lambda: Store(layout).move_link(make_plan().tasks[0].ref, TaskState.CANCELLED, durable=True)


def on_a_file(act: Callable[[Path, SpoolLayout], object]) -> Callable[[SpoolLayout], Callable[[], object]]:
    """An operation on a file that is there."""

    def prepare(layout: SpoolLayout) -> Callable[[], object]:
        old = layout.root / "a"
        old.write_bytes(b"old")
        return lambda: act(old, layout)

    return prepare


def taking(layout: SpoolLayout) -> Callable[[], object]:
    (layout.incoming / "a.yaml").write_bytes(b"old")
    return lambda: take(layout)


OPERATIONS: dict[str, Callable[[SpoolLayout], Callable[[], object]]] = {
    "a new file": lambda layout: lambda: write_durably(layout.root / "a", b"new"),
    "a replaced file": on_a_file(lambda old, _: write_durably(old, b"new")),
    "a file that must be new": lambda layout: lambda: write_new_durably(layout.root / "a", b"new"),
    "another's file": on_a_file(lambda old, _: make_durable(old)),
    "a first line": lambda layout: lambda: append_durably(layout.root / "a", b"line"),
    "a second name": on_a_file(lambda old, layout: copy_linked(old, layout.responses / "a")),
    "folders": lambda layout: lambda: make_folder(layout.root / "a" / "b"),
    "taking": taking,
    "an admission": lambda layout: lambda: admit(layout),
    "taking and admitting": taking_and_admitting,
    "a decision": decision,
    "a last move": last_move,
}


@pytest.mark.parametrize("what", OPERATIONS)
def test_a_failed_fsync_is_never_followed_by_a_mere_second_one(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gate: Gate
):
    for number in range(1, 40):
        root = tmp_path / f"spool-{number}"
        layout = SpoolLayout(root)
        gate.fails_at = 0
        for folder in (layout.incoming, layout.responses, layout.plans, layout.logs):
            folder.mkdir(parents=True)
        for state in TaskState:
            (layout.tasks / state).mkdir(parents=True)
        act = OPERATIONS[what](layout)
        gate.calls, gate.fails_at = 0, number
        try:
            act()
        except OSError:
            act()
        if gate.calls < number:
            assert number > 1, "it syncs nothing"
            return
        assert gate.faults == [], f"fsync {number} failed"
    pytest.fail("it never ends")
