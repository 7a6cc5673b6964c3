"""Drop folders: whichever way a file is dropped, it is taken once, whole, and only when it is finished."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.spool.another_user import NOBODY, as_another_user, needs_root
from tests.support.waiting import wait_until

from haikud.spool.drops import (
    MOST_PER_SCAN,
    DropFault,
    DropFolder,
    OddEntry,
    Taken,
    ignore_sigio,
    is_left_alone,
)
from haikud.spool.taken import taken_name

PLAN = json.dumps({"id": "t1", "prompt": "z" * 9000}).encode()
NEVER = 3600.0  # a settling time that no test outlives: what is taken with it was taken at once
AT_ONCE = 0.0


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "incoming"
    folder.mkdir()
    (tmp_path / "stage").mkdir()
    (tmp_path / "stage" / "plan.json").write_bytes(PLAN)
    return folder


def drop_folder(path: Path, settle: float = NEVER, **options: object) -> DropFolder:
    return DropFolder(path, max_bytes=1 << 20, settle_seconds=settle, **options)  # type: ignore[arg-type]


def only(taken: list[Taken]) -> Taken:
    (one,) = taken
    return one


def shell(command: str) -> Callable[[Path], None]:
    return lambda inbox: subprocess.check_call(["/bin/sh", "-c", command], cwd=inbox) and None


FINISHED_DROPS = {
    "cat": shell("cat ../stage/plan.json > plan.json"),
    "cp": shell("cp ../stage/plan.json plan.json"),
    "mv": shell("mv ../stage/plan.json plan.json"),
    "ln": shell("ln ../stage/plan.json plan.json"),
    "tee": shell("tee plan.json < ../stage/plan.json > /dev/null"),
    "dot-name and rename": shell("cp ../stage/plan.json .x; mv .x plan.json"),
    "two steps, both done": shell(
        "head -c 4000 ../stage/plan.json > plan.json; tail -c +4001 ../stage/plan.json >> plan.json"
    ),
    "sed -i": shell("cp ../stage/plan.json plan.json; sed -i s/t1/t1/ plan.json"),
}


@pytest.mark.parametrize("way", FINISHED_DROPS)
def test_a_finished_file_is_taken_at_once(inbox: Path, way: str):
    FINISHED_DROPS[way](inbox)
    scan = drop_folder(inbox).scan()
    taken = only(scan.ready)
    assert (taken.name, taken.data, taken.fault) == ("plan.json", PLAN, None)
    assert taken.path == inbox / f".taken-{taken.token}-plan.json"
    assert [p.name for p in inbox.iterdir()] == [taken.path.name]
    assert (scan.odd, scan.stuck, scan.wait_seconds) == ([], [], None)


def test_an_unnamed_file_that_was_linked_in_is_taken_once_its_writer_closes(inbox: Path):
    descriptor = os.open(inbox, os.O_WRONLY | os.O_TMPFILE, 0o600)
    os.write(descriptor, PLAN)
    root = os.open("/", os.O_RDONLY)  # makes os.link use linkat(2), which alone can follow this link
    os.link(f"/proc/self/fd/{descriptor}", inbox / "plan.json", src_dir_fd=root, follow_symlinks=True)
    os.close(root)
    drops = drop_folder(inbox)
    scan = drops.scan()
    assert (scan.ready, scan.wait_seconds) == ([], NEVER)  # no event will tell: the caller must look again
    os.close(descriptor)
    assert only(drops.scan().ready).data == PLAN


@pytest.mark.parametrize("name", ["plan.json", "plan.yaml"])
def test_a_slow_writer_is_waited_for_however_long_it_takes(inbox: Path, name: str):
    drops = drop_folder(inbox, AT_ONCE)
    program = (
        "import sys; f = open(sys.argv[1], 'w'); f.write('{'); f.flush(); print(flush=True); input(); f.write('}')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, inbox / name], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout
        writer.stdout.readline()
        for _ in range(3):
            scan = drops.scan()
            assert scan.ready == []
            assert scan.wait_seconds
        writer.communicate(b"\n")
    assert only(drops.scan().ready).data == b"{}"


def test_json_that_was_cut_gets_the_settling_time_to_become_whole(inbox: Path):
    drops = drop_folder(inbox)
    (inbox / "plan.json").write_bytes(PLAN[:4000])
    scan = drops.scan()
    assert scan.ready == []
    assert scan.wait_seconds is not None
    assert 0 < scan.wait_seconds <= NEVER
    with (inbox / "plan.json").open("ab") as stream:
        stream.write(PLAN[4000:])
    assert only(drops.scan().ready).data == PLAN


def test_json_that_stays_cut_is_taken_when_it_was_still_long_enough(inbox: Path):
    drops = drop_folder(inbox, 0.05)
    (inbox / "plan.json").write_bytes(PLAN[:4000])
    assert drops.scan().ready == []
    taken = wait_until(lambda: drops.scan().ready)
    assert only(taken).data == PLAN[:4000]


def test_a_closed_yaml_file_is_taken_at_once(inbox: Path):
    (inbox / "plan.yaml").write_bytes(b"id: [")
    assert only(drop_folder(inbox).scan().ready).data == b"id: ["


def test_touch_then_write(inbox: Path):
    drops = drop_folder(inbox)
    (inbox / "plan.json").touch()
    assert drops.scan().ready == []
    (inbox / "plan.json").write_bytes(PLAN)
    assert only(drops.scan().ready).data == PLAN


def test_an_empty_file_that_stays_empty_comes_back_as_a_fault(inbox: Path):
    (inbox / "plan.json").touch()
    drops = drop_folder(inbox, 0.05)
    assert drops.scan().ready == []
    taken = only(wait_until(lambda: drops.scan().ready))
    assert (taken.fault, taken.data) == (DropFault.EMPTY, None)
    assert taken.fault == "empty"


def test_an_empty_control_file_is_taken_at_once(inbox: Path):
    (inbox / "t1.cancel").touch()
    taken = only(drop_folder(inbox, empty_is_fine=True).scan().ready)
    assert (taken.name, taken.data, taken.fault) == ("t1.cancel", b"", None)


def test_what_a_power_cut_leaves_comes_back_as_a_fault(inbox: Path):
    (inbox / "plan.yaml").write_bytes(b"\0" * 5000)
    taken = only(drop_folder(inbox).scan().ready)
    assert taken.fault is DropFault.ALL_NUL
    assert "5000" in taken.why


def test_two_mebibytes_are_not_read(inbox: Path):
    (inbox / "plan.json").write_bytes(b"[" + b"1," * (1 << 20) + b"1]")
    taken = only(drop_folder(inbox).scan().ready)
    assert (taken.fault, taken.data) == (DropFault.TOO_LARGE, None)
    assert "at most 1048576" in taken.why


@needs_root
def test_a_file_of_another_user_is_not_read_unless_allowed(inbox: Path):
    (inbox / "plan.json").write_bytes(PLAN)
    os.chown(inbox / "plan.json", 4711, -1)
    shutil.copy2(inbox / "plan.json", inbox / "other.json")
    os.chown(inbox / "other.json", 4712, -1)
    faults = {taken.name: taken.fault for taken in drop_folder(inbox, allowed_uids=[4712]).scan().ready}
    assert faults == {"plan.json": DropFault.NOT_OWNED, "other.json": None}


@needs_root
def test_where_no_lease_is_granted_stillness_decides(inbox: Path):
    (inbox / "plan.json").write_bytes(PLAN)  # root's: anyone may read it, but another user gets no lease on it
    (inbox / "secret.json").write_bytes(PLAN)
    (inbox / "plan.json").chmod(0o644)
    (inbox / "secret.json").chmod(0o600)

    def scan() -> None:
        drops = drop_folder(Path())
        first = drops.scan()
        assert first.ready == []
        assert first.wait_seconds is not None
        assert NEVER - 60 < first.wait_seconds <= NEVER
        drops._settle_seconds = 0.0
        faults = {taken.name: taken.fault for taken in drops.scan().ready}
        assert faults == {"plan.json": None, "secret.json": DropFault.UNREADABLE}

    os.chown(inbox, NOBODY, -1)
    as_another_user(inbox, scan)


@needs_root
def test_what_may_not_be_renamed_is_named_and_stops_nothing(inbox: Path):
    (inbox / "a.json").write_bytes(PLAN)

    def scan() -> None:
        Path("b.json").write_bytes(PLAN)
        scan = drop_folder(Path(), AT_ONCE).scan()
        assert [taken.name for taken in scan.ready] == ["b.json"]
        assert len(scan.stuck) == 1
        assert "a.json" in scan.stuck[0]

    inbox.chmod(0o1777)
    as_another_user(inbox, scan)


def test_a_writer_that_comes_while_a_file_is_taken_harms_nobody(inbox: Path):
    """The lease is broken by the writer: its signal must not end us, whatever is set for SIGIO."""
    program = (
        "import os, sys\n"
        "while True:\n"
        "    try: os.close(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND))\n"
        "    except OSError: pass\n"
    )
    assert signal.getsignal(signal.SIGIO) is signal.SIG_DFL
    with subprocess.Popen([sys.executable, "-c", program, inbox / "plan.yaml"]) as writer:
        drops = drop_folder(inbox, AT_ONCE)
        taken: list[Taken] = []
        wait_until(lambda: taken.extend(drops.scan().ready) or len(taken) >= 50)
        writer.kill()
    assert all(one.fault is DropFault.EMPTY for one in taken)


def test_sigio_can_be_ignored():
    earlier = signal.getsignal(signal.SIGIO)
    try:
        ignore_sigio()
        os.kill(os.getpid(), signal.SIGIO)
    finally:
        signal.signal(signal.SIGIO, earlier)


@pytest.mark.parametrize("name", [".plan.json", "plan.json~", "plan.tmp", "plan.json.part", ".plan.json.swp", "x.swp"])
def test_unfinished_names_are_left_alone(inbox: Path, name: str):
    (inbox / name).write_bytes(PLAN)
    assert is_left_alone(name)
    scan = drop_folder(inbox, AT_ONCE).scan()
    assert (scan.ready, scan.odd, scan.wait_seconds) == ([], [], None)
    assert (inbox / name).exists()


def test_what_is_no_file_is_moved_to_its_taken_name_and_never_opened(inbox: Path):
    (inbox / "link.json").symlink_to("../stage/plan.json")
    os.mkfifo(inbox / "fifo.json")
    (inbox / "folder.json").mkdir()
    (inbox / "folder.json" / "inside").touch()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(inbox / "socket.json"))
        drops = drop_folder(inbox)
        scan = drops.scan()
    assert scan.ready == []
    why = {entry.name: entry.why for entry in scan.odd}
    assert set(why) == {"link.json", "fifo.json", "folder.json", "socket.json"}
    assert "symlink" in why["link.json"]
    assert "folder" in why["folder.json"]
    assert all(entry.path == inbox / f".taken-{entry.token}-{entry.name}" for entry in scan.odd)
    left = drops.left_over()
    assert {(one.token, one.fault) for one in left} == {(entry.token, DropFault.ODD) for entry in scan.odd}
    assert drops.scan().odd == []


@pytest.mark.parametrize(
    "name", ["a\nb.json", "\x1b[2J.json", "\udcff\udcfe.json", "-rf", "ü" * 125 + ".json", "x" * 255]
)
def test_any_name_can_be_taken_and_comes_back_after_a_crash(inbox: Path, name: str):
    (inbox / name).write_bytes(PLAN)
    taken = only(drop_folder(inbox).scan().ready)
    assert (taken.name, taken.data) == (name, PLAN)
    again = only(drop_folder(inbox).left_over())
    assert (again.token, again.data, again.path) == (taken.token, PLAN, taken.path)
    assert again.name == name or len(os.fsencode(name)) > 255 - 24
    assert again.name[:50] == name[:50]
    assert Path(again.name).suffix == Path(name).suffix


def test_a_taken_name_is_never_too_long():
    for name in ("x" * 255, "x" * 251 + ".json"[:4], "é" * 127, "." + "y" * 254, "a." + "b" * 253):
        assert len(os.fsencode(taken_name("0" * 16, name))) <= 255


def test_only_well_formed_taken_names_are_recovered(inbox: Path):
    for name in (".taken-", ".taken-xyz-a.json", ".taken-0123456789abcdef", ".taken-0123456789abcdef-"):
        (inbox / name).write_bytes(PLAN)
    assert drop_folder(inbox).left_over() == []


def test_finishing_removes_the_file_and_may_be_repeated(inbox: Path):
    (inbox / "plan.json").write_bytes(PLAN)
    drops = drop_folder(inbox)
    taken = only(drops.scan().ready)
    drops.finish(taken)
    drops.finish(taken, durable=True)
    assert list(inbox.iterdir()) == []


def test_the_oldest_come_first_and_not_all_at_once(inbox: Path):
    for number in range(MOST_PER_SCAN + 5):
        path = inbox / f"{number % 7}-{number}.json"
        path.write_bytes(b"{}")
        os.utime(path, ns=(0, number))
    drops = drop_folder(inbox)
    first, second = drops.scan(), drops.scan()
    assert (len(first.ready), first.wait_seconds) == (MOST_PER_SCAN, 0.0)
    assert (len(second.ready), second.wait_seconds) == (5, None)
    mtimes = [taken.mtime for taken in (*first.ready, *second.ready)]
    assert mtimes == sorted(mtimes)


def test_a_clock_that_jumps_changes_nothing(inbox: Path):
    drops = drop_folder(inbox, 0.05)
    (inbox / "plan.json").touch()
    os.utime(inbox / "plan.json", (4e9, 4e9))  # in 2096
    assert drops.scan().ready == []
    assert wait_until(lambda: drops.scan().ready)


def test_a_file_replaced_under_the_scan_is_put_back_for_its_own_look(inbox: Path):
    drops = drop_folder(inbox)
    (inbox / "plan.yaml").write_bytes(b"old")
    entry = drops._entry("plan.yaml")
    assert entry is not None
    descriptor = os.open(entry.path, os.O_RDONLY)
    (inbox / ".new").write_bytes(b"new")
    (inbox / ".new").rename(inbox / "plan.yaml")
    assert isinstance(drops._take(entry, descriptor), float)
    os.close(descriptor)
    assert only(drops.scan().ready).data == b"new"


def test_a_folder_that_took_a_files_place_is_odd(inbox: Path):
    drops = drop_folder(inbox)
    (inbox / "plan.yaml").write_bytes(b"old")
    entry = drops._entry("plan.yaml")
    assert entry is not None
    descriptor = os.open(entry.path, os.O_RDONLY)
    entry.path.unlink()
    entry.path.mkdir()
    assert isinstance(drops._take(entry, descriptor), OddEntry)
    os.close(descriptor)


def test_a_file_that_vanishes_is_no_trouble(inbox: Path):
    drops = drop_folder(inbox)
    (inbox / "plan.yaml").write_bytes(b"old")
    entry = drops._entry("plan.yaml")
    assert entry is not None
    entry.path.unlink()
    assert drops._look_at(entry, 0.0) is None
    assert drops._take(entry) is None


def test_a_missing_folder_is_trouble(inbox: Path):
    inbox.rmdir()
    with pytest.raises(FileNotFoundError):
        drop_folder(inbox).scan()
