"""Faults as values: which kind an error is of, what holds work, what the log is told, and when it is over."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from haikud.contracts.live import FaultKind
from haikud.engine.machine import examining as machine
from haikud.engine.machine.faults import CURES, NoThread, describe, kind_of
from haikud.engine.machine.trouble import FORGET_SECONDS, QUIET_SECONDS, REMIND_SECONDS, RETRY_SECONDS, Trouble
from haikud.sandbox.trees import TreeStillAlive
from haikud.spool.format import open_spool
from haikud.spool.layout import SpoolLayout
from haikud.spool.models import UnreadableFile

KINDS = [
    (errno.ENOSPC, FaultKind.NO_SPACE),
    (errno.EDQUOT, FaultKind.NO_SPACE),
    (errno.EROFS, FaultKind.READ_ONLY),
    (errno.EACCES, FaultKind.PERMISSION_DENIED),
    (errno.EPERM, FaultKind.PERMISSION_DENIED),
    (errno.EMFILE, FaultKind.TOO_MANY_FILES),
    (errno.ENFILE, FaultKind.TOO_MANY_FILES),
    (errno.EAGAIN, FaultKind.NO_PROCESSES),
    (errno.ENOMEM, FaultKind.NO_MEMORY),
    (errno.EIO, FaultKind.IO_ERROR),
    (errno.ESTALE, FaultKind.IO_ERROR),
    (errno.ENOENT, FaultKind.OTHER),
]


class Told:
    """Trouble with a clock of its own."""

    def __init__(self) -> None:
        self.now = 100.0
        self.said: list[str] = []
        self.trouble = Trouble(self.said.append, lambda: self.now)

    def fail(self, number: int, doing: str = "taking requests") -> None:
        with self.trouble.guard(doing):
            raise OSError(number, os.strerror(number), "/spool/x")

    def later(self, seconds: float) -> None:
        self.now += seconds
        self.trouble.tell()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.mark.parametrize(("number", "kind"), KINDS, ids=str)
def test_every_error_has_a_kind(number: int, kind: FaultKind):
    assert kind_of(OSError(number, os.strerror(number), "/x")) is kind


def test_what_is_no_oserror_has_a_kind_too():
    assert kind_of(MemoryError()) is FaultKind.NO_MEMORY
    assert kind_of(UnreadableFile(Path("/x"), "no JSON")) is FaultKind.UNREADABLE
    assert kind_of(NoThread()) is FaultKind.NO_PROCESSES
    assert kind_of(TreeStillAlive(["7 sleep"])) is FaultKind.OTHER
    assert kind_of(PermissionError("three files are stuck")) is FaultKind.PERMISSION_DENIED
    assert kind_of(OSError(errno.ENOMEM, ""), starting=True) is FaultKind.NO_PROCESSES


def test_every_kind_has_a_cure():
    assert set(CURES) == set(FaultKind)


def test_words_are_one_line_and_bounded():
    assert describe(MemoryError()) == "MemoryError"
    assert "\n" not in describe(OSError("a\nb"))
    assert len(describe(OSError("x" * 9999))) < 600


def test_a_bug_is_no_fault(told: Told):
    with pytest.raises(KeyError), told.trouble.guard("x"):
        raise KeyError("x")


def test_a_step_that_fails_is_said_once_shown_while_it_lasts_and_left_alone_for_a_while(told: Told):
    trouble = told.trouble
    for _ in range(3):
        told.fail(errno.ENOENT)
        trouble.tell()
    assert [line.partition(";")[0] for line in told.said] == [
        "fault: other: taking requests: [Errno 2] No such file or directory: '/spool/x'"
    ]
    (shown,) = trouble.faults()
    assert (shown.kind, shown.doing, shown.holds_work) == (FaultKind.OTHER, "taking requests", False)
    assert not trouble.holds_work
    assert trouble.must_wait("taking requests")
    assert trouble.next_try() == 100.0 + RETRY_SECONDS
    told.now += RETRY_SECONDS
    assert not trouble.must_wait("taking requests")
    with trouble.guard("taking requests"):
        pass
    trouble.tell()
    assert trouble.faults() == []
    assert told.said[-1] == "over after 3 s: other: taking requests"


def test_a_suspect_holds_work_until_it_is_examined_and_is_said_only_then(told: Told):
    trouble = told.trouble
    told.fail(errno.ENOSPC)
    trouble.tell()
    assert told.said == []
    assert trouble.holds_work
    assert trouble.to_examine() == [FaultKind.NO_SPACE]
    trouble.found(FaultKind.NO_SPACE, "0 KiB are free")
    told.fail(errno.ENOSPC, "settling p")
    trouble.found(FaultKind.NO_SPACE, "0 KiB are free")
    trouble.tell()
    assert len(told.said) == 1
    assert "fault: no_space: taking requests: 0 KiB are free; no work is taken" in told.said[0]
    (shown,) = trouble.faults()  # the steps that it keeps from working are not listed beside it
    assert shown.holds_work
    assert trouble.to_examine() == []
    told.now += 12
    assert trouble.to_examine() == [FaultKind.NO_SPACE]
    trouble.found(FaultKind.NO_SPACE, None)
    assert not trouble.must_wait("taking requests")
    assert not trouble.holds_work
    for doing in ("taking requests", "settling p"):
        trouble.heal(doing)
    trouble.tell()
    assert told.said[1:] == ["over after 12 s: no_space: taking requests"]


def test_what_an_examination_does_not_find_belongs_to_the_step_alone(told: Told):
    told.fail(errno.EIO, "reading the result of p")
    assert told.trouble.holds_work
    told.trouble.found(FaultKind.IO_ERROR, None)
    told.trouble.tell()
    assert not told.trouble.holds_work
    assert told.said[0].startswith("fault: io_error: reading the result of p")


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EAGAIN, errno.ENOMEM])
def test_what_our_process_cannot_have_holds_all_work_until_it_can(told: Told, number: int):
    kind = kind_of(OSError(number, ""))
    told.fail(number, "starting p")
    told.trouble.heal("starting p")
    assert told.trouble.lasts(kind)
    assert told.trouble.to_examine() == []  # not at once: the next start would be refused as well
    told.now += RETRY_SECONDS
    assert told.trouble.to_examine() == [kind]


def test_one_task_does_not_hold_up_the_others_but_the_machine_does(told: Told):
    with told.trouble.apart("settling p"):
        raise OSError(errno.EACCES, "denied")
    with told.trouble.apart("settling q"):
        raise UnreadableFile(Path("/q"), "no JSON")
    with pytest.raises(OSError, match="full"), told.trouble.apart("settling r"):
        raise OSError(errno.ENOSPC, "full")
    told.trouble.found(FaultKind.PERMISSION_DENIED, None)
    assert [(one.kind, one.doing) for one in told.trouble.faults()] == [
        (FaultKind.PERMISSION_DENIED, "settling p"),
        (FaultKind.UNREADABLE, "settling q"),
    ]
    assert "doctor --repair" in told.trouble.faults()[1].cure


def test_the_log_is_never_flooded_and_reminded_every_ten_minutes(told: Told):
    for _ in range(1300):
        told.fail(errno.ENOENT)
        told.later(1.0)
    assert len(told.said) == 3
    assert told.said[1].startswith(f"fault for {REMIND_SECONDS / 60:.0f} min, 600 more times: other")


def test_what_comes_and_goes_is_not_said_every_time(told: Told):
    for _ in range(20):
        told.fail(errno.ENOENT)
        told.trouble.tell()
        told.trouble.heal("taking requests")
        told.later(1.0)
    assert len(told.said) == 2
    told.now += QUIET_SECONDS
    told.fail(errno.ENOENT)
    told.trouble.tell()
    assert len(told.said) == 3


def test_what_nobody_tries_again_is_forgotten(told: Told):
    with told.trouble.guard("telling p", once=True):
        raise OSError(errno.ENOENT, "gone")
    told.later(FORGET_SECONDS - 1)
    assert told.trouble.faults()
    told.later(1)
    assert not told.trouble.faults()
    told.fail(errno.ENOENT, "settling of a task that was cancelled meanwhile")
    told.later(FORGET_SECONDS + RETRY_SECONDS + 1)
    assert not told.trouble.faults()


def test_what_is_only_mentioned_holds_nothing_up(told: Told):
    told.trouble.mention(FaultKind.CLOCK_JUMPED, "keeping time", "by 3600 s", seconds=60)
    told.trouble.mention(FaultKind.WATCH_LIMIT, "watching", "polling instead")
    told.trouble.tell()
    assert len(told.said) == 2
    assert not told.trouble.lasts_anything
    assert told.trouble.next_try() is None
    told.later(1000)
    assert [one.kind for one in told.trouble.faults()] == [FaultKind.WATCH_LIMIT]
    told.trouble.heal("watching")
    assert not told.trouble.faults()


def test_a_sound_machine_is_found_sound_and_nothing_is_left_behind(tmp_path: Path):
    open_spool(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    for kind in FaultKind:
        assert machine.examine(kind, SpoolLayout(tmp_path), 0) is None
    assert sorted(tmp_path.rglob("*")) == before


def test_too_little_room_is_found_and_must_be_more_before_work_goes_on(tmp_path: Path):
    found = os.statvfs(tmp_path)
    free = found.f_bavail * found.f_frsize
    assert "are free" in machine.look_at_filesystem(tmp_path, free * 2)[FaultKind.NO_SPACE]
    assert machine.look_at_filesystem(tmp_path, free // 2) == {}
    assert machine.with_margin(80) == 90


def test_a_folder_that_is_not_there_is_not_called_full(tmp_path: Path):
    assert machine.look_at_filesystem(tmp_path / "x", 1) == {}
